import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { METRICS_DOC, metricsReference } from './generate-metrics-doc.ts';

const doc = readFileSync(METRICS_DOC, 'utf8');

test('docs/metrics.md is what the tables say', () => {
  assert.equal(doc, metricsReference(), 'run: node scripts/with-runtime.mjs scripts/generate-metrics-doc.ts');
});

/** The statistics that Telegraf's libvirt input documents, by libvirt's names. */
const STATISTICS = `
  state.state state.reason
  cpu.time cpu.user cpu.system cpu.haltpoll.success.time cpu.haltpoll.fail.time cpu.cache.monitor.count
  cpu.cache.monitor.<num>.name cpu.cache.monitor.<num>.vcpus cpu.cache.monitor.<num>.bank.count
  cpu.cache.monitor.<num>.bank.<index>.id cpu.cache.monitor.<num>.bank.<index>.bytes
  balloon.current balloon.maximum balloon.swap_in balloon.swap_out balloon.major_fault balloon.minor_fault balloon.unused
  balloon.available balloon.rss balloon.usable balloon.last-update balloon.disk_caches balloon.hugetlb_pgalloc balloon.hugetlb_pgfail
  vcpu.current vcpu.maximum vcpu.<num>.state vcpu.<num>.time vcpu.<num>.wait vcpu.<num>.halted vcpu.<num>.delay cpu_id
  net.count net.<num>.name net.<num>.rx.bytes net.<num>.rx.pkts net.<num>.rx.errs net.<num>.rx.drop
  net.<num>.tx.bytes net.<num>.tx.pkts net.<num>.tx.errs net.<num>.tx.drop
  perf.cmt perf.mbmt perf.mbml perf.cpu_cycles perf.instructions perf.cache_references perf.cache_misses perf.branch_instructions
  perf.branch_misses perf.bus_cycles perf.stalled_cycles_frontend perf.stalled_cycles_backend perf.ref_cpu_cycles perf.cpu_clock
  perf.task_clock perf.page_faults perf.context_switches perf.cpu_migrations perf.page_faults_min perf.page_faults_maj
  perf.alignment_faults perf.emulation_faults
  block.count block.<num>.name block.<num>.backingIndex block.<num>.path block.<num>.rd.reqs block.<num>.rd.bytes
  block.<num>.rd.times block.<num>.wr.reqs block.<num>.wr.bytes block.<num>.wr.times block.<num>.fl.reqs block.<num>.fl.times
  block.<num>.errors block.<num>.allocation block.<num>.capacity block.<num>.physical block.<num>.threshold
  iothread.count iothread.<id>.poll-max-ns iothread.<id>.poll-grow iothread.<id>.poll-shrink
  memory.bandwidth.monitor.count memory.bandwidth.monitor.<num>.name memory.bandwidth.monitor.<num>.vcpus
  memory.bandwidth.monitor.<num>.node.count memory.bandwidth.monitor.<num>.node.<index>.id
  memory.bandwidth.monitor.<num>.node.<index>.bytes.local memory.bandwidth.monitor.<num>.node.<index>.bytes.total
  dirtyrate.calc_status dirtyrate.calc_start_time dirtyrate.calc_period dirtyrate.megabytes_per_second dirtyrate.calc_mode
  dirtyrate.vcpu.<num>.megabytes_per_second
`
  .trim()
  .split(/\s+/);

test('every statistic of libvirt is pointed to in docs/metrics.md', () => {
  const index = doc.slice(doc.indexOf("## From libvirt's statistics"));
  const missing = STATISTICS.filter((statistic) => !index.includes(`| \`${statistic}\` | \`libvirt_`));
  assert.deepEqual(missing, []);
});
