// `virtlens logs` under fire: logs are written and rotated while the process is killed at random.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { buildAgent } from '../scripts/build.ts';
import { Agent, AgentProcess } from './lab/agent.ts';
import { ForwardServer } from './support/forward-server.ts';
import { LogWriter, StormCheck } from './support/log-storm.ts';
import { OtlpReceiver, takeAll } from './support/otlp-receiver.ts';

/** `npm run storm` asks for a million, which takes five minutes. */
const LINES = Number(process.env.VIRTLENS_STORM_LINES ?? 100_000);
const LOGS = 4;
/** The writers wait for the slower receiver, so that rotation deletes nothing that is not delivered. */
const AHEAD_MAX = 12_000;

let root = '';
let bundle = '';

before(async () => {
  root = mkdtempSync(join(tmpdir(), 'virtlens-storm-'));
  bundle = join(root, 'virtlens.mjs');
  await buildAgent(bundle);
});
after(() => rmSync(root, { recursive: true }));

/** From 0 to 1, the same in every run. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Two receivers, and a check of what comes to each. */
async function startReceivers(onBatch: () => void) {
  const forward = await ForwardServer.start();
  const otlp = await OtlpReceiver.start();
  const checks = { forward: new StormCheck(onBatch), otlp: new StormCheck(onBatch) };
  forward.reply = ({ chunk, events }) => {
    checks.forward.take(
      events.map(({ record }) => ({ uid: record['log.record.uid'], body: record.message })),
      chunk,
    );
    forward.messages.length = 0;
    return 'acknowledge';
  };
  otlp.reply = (response, request) => {
    const logs = request.resources.flatMap((resource) => resource.logs);
    checks.otlp.take(logs.map(({ attributes, body }) => ({ uid: attributes['log.record.uid'], body })));
    otlp.requests.length = 0;
    takeAll(response, request);
  };
  return { forward, otlp, checks };
}

test('after kills and rotations nothing is missing or out of order; what comes twice was under way at a kill', async () => {
  const logs = join(root, 'storm');
  mkdirSync(logs);
  let wake = () => {};
  const { forward, otlp, checks } = await startReceivers(() => wake());
  await using _forward = forward;
  await using _otlp = otlp;
  const args = [
    ...['logs', '--source=qemu', `--qemu.log-dir=${logs}`, `--state.dir=${join(root, 'state')}`],
    ...[`--forward.address=127.0.0.1:${forward.port}`, `--otlp.endpoint=${otlp.url.origin}`],
    '--web.listen-address=127.0.0.1:0',
  ];
  const random = createRandom(14);
  const writers = Array.from({ length: LOGS }, (_, index) => new LogWriter(logs, `vm${index}`));
  const delivered = () => Math.min(checks.forward.records, checks.otlp.records);
  let written = 0;
  /** Writes as much as may be there; before a pause no line is left open, which would count as it is after some seconds. */
  const write = () => {
    while (written < LINES && written - delivered() < AHEAD_MAX) {
      const count = Math.min(1 + Math.floor(random() * 400), LINES - written);
      writers[Math.floor(random() * LOGS)]!.write(count);
      written += count;
    }
    for (const writer of writers) writer.completeLine();
  };
  const beganAtMs = performance.now();
  let kills = 0;
  let largestBytes = 0;
  let agent = new AgentProcess(args, { main: bundle });
  await using _agent = { [Symbol.asyncDispose]: () => agent[Symbol.asyncDispose]() };
  const kill = async () => {
    largestBytes = Math.max(largestBytes, agent.residentBytes);
    agent.child.kill('SIGKILL');
    await agent.ended;
    kills++;
    // Logs go on while nobody reads them.
    write();
    agent = new AgentProcess(args, { main: bundle });
  };
  let killAt = 3000;
  while (delivered() < LINES) {
    if (agent.hasEnded) assert.fail(`it ended by itself: ${agent.log}`);
    write();
    assert.deepEqual([checks.forward.violations, checks.otlp.violations], [[], []]);
    if (checks.forward.records + checks.otlp.records >= killAt) {
      // Anywhere within a batch, and every fourth one again while it starts.
      await delay(random() * 30);
      await kill();
      if (random() < 0.25) {
        await delay(random() * 400);
        await kill();
      }
      killAt = checks.forward.records + checks.otlp.records + Math.floor(random() * 16_000);
      continue;
    }
    await new Promise<void>((resolve) => {
      wake = resolve;
      void agent.ended.then(() => resolve());
    });
  }
  await agent.stop();
  assert.deepEqual([checks.forward.violations, checks.otlp.violations], [[], []]);
  assert.deepEqual([forward.violations, otlp.violations], [[], []]);
  for (const writer of writers) {
    writer.end();
    const { name, lines } = writer;
    assert.deepEqual([checks.forward.countOf(name), checks.otlp.countOf(name)], [lines, lines], name);
  }
  const rotations = writers.reduce((sum, writer) => sum + writer.rotations, 0);
  assert.ok(kills > LINES / 10_000 && rotations > LINES / 2000, `${kills} kills, ${rotations} rotations`);
  for (const { resent } of Object.values(checks)) assert.ok(resent <= kills, `${resent} batches twice, ${kills} kills`);
  const seconds = Math.round((performance.now() - beganAtMs) / 1000);
  process.stderr.write(
    `storm: ${LINES} lines, ${rotations} rotations, ${kills} kills in ${seconds} s; ` +
      `twice: ${checks.forward.resent} and ${checks.otlp.resent} batches; at most ${largestBytes >> 20} MiB resident\n`,
  );
});

test('while a sink is away memory stays flat; when it is back it gets everything', async () => {
  const logs = join(root, 'away');
  mkdirSync(logs);
  let wake = () => {};
  const { forward, otlp, checks } = await startReceivers(() => wake());
  await using _forward = forward;
  await using _otlp = otlp;
  const isAway = { otlp: false };
  const take = otlp.reply;
  otlp.reply = (response, request) => {
    if (isAway.otlp) {
      otlp.requests.length = 0;
      response.writeHead(503).end();
    } else take(response, request);
  };
  await using agent = await Agent.start(
    [
      ...['logs', '--source=qemu', `--qemu.log-dir=${logs}`, `--state.dir=${join(root, 'state-away')}`],
      ...[`--forward.address=127.0.0.1:${forward.port}`, `--otlp.endpoint=${otlp.url.origin}`],
    ],
    { main: bundle },
  );
  const writer = new LogWriter(logs, 'vm');
  const deliver = async (count: number, check: StormCheck) => {
    const target = writer.lines + count;
    while (writer.lines < target) {
      writer.write(Math.min(500, target - writer.lines));
      writer.completeLine();
      while (check.records < writer.lines - 2000) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  };
  // Warm, with both sinks.
  await deliver(8000, checks.otlp);
  const before = agent.residentBytes;
  isAway.otlp = true;
  const withOtlp = checks.otlp.records;
  await deliver(20_000, checks.forward);
  assert.ok(checks.otlp.records - withOtlp < 5000, 'it is away');
  const growth = agent.residentBytes - before;
  assert.ok(growth < 24 * 1024 * 1024, `it has grown by ${growth >> 10} KiB with 20,000 records behind`);
  const page = await agent.metrics();
  assert.match(page, /virtlens_logs_sink_state\{sink="otlp",state="failing"\} 1/);
  assert.ok(Number(/virtlens_logs_lag_bytes\{sink="otlp"\} (\d+)/.exec(page)?.[1]) > 1_000_000);
  isAway.otlp = false;
  writer.end();
  while (checks.otlp.records < writer.lines) {
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  assert.deepEqual([checks.otlp.violations, checks.forward.violations], [[], []]);
});
