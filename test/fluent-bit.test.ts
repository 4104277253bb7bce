// The configurations for Fluent Bit: what they refer to is there, and their regular expressions fit the formats of libvirt and QEMU.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Agent } from './lab/agent.ts';
import { tail, waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';

const FOLDER = join(import.meta.dirname, '..', 'deploy', 'fluent-bit');

interface Section {
  readonly kind: string;
  /** In their order; the keys in lower case. */
  readonly entries: readonly (readonly [key: string, value: string])[];
}

/** Sections of Fluent Bit's classic format. */
function readSections(file: string): Section[] {
  const sections: { kind: string; entries: [string, string][] }[] = [];
  for (const line of readFileSync(join(FOLDER, file), 'utf8').split('\n')) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const header = /^\[([A-Z_]+)\]$/.exec(line);
    if (header !== null) {
      sections.push({ kind: header[1]!, entries: [] });
      continue;
    }
    const [, key, value] = /^ {4}(\S+)\s+(\S.*)$/.exec(line) ?? assert.fail(`${file}: ${line}`);
    sections.at(-1)!.entries.push([key!.toLowerCase(), value!]);
  }
  return sections;
}

const valuesOf = ({ entries }: Section, key: string) =>
  entries.filter(([name]) => name === key).map(([, value]) => value);
const firstOf = (section: Section, key: string) => valuesOf(section, key)[0];

const PARSERS = readSections('parsers.conf');
const named = (kind: string) =>
  PARSERS.filter((section) => section.kind === kind).map((section) => firstOf(section, 'name')!);

/** In Ruby's syntax, which Fluent Bit uses, ^ and $ are of lines. */
const compile = (regex: string) => new RegExp(regex, 'm');

function parse(parser: string, text: string): Record<string, string | undefined> | undefined {
  const section = PARSERS.find((each) => firstOf(each, 'name') === parser) ?? assert.fail(parser);
  return compile(firstOf(section, 'regex')!).exec(text)?.groups;
}

/** What a filter with these parsers makes of a text: that of the first that fits. */
function parseFirst(parsers: readonly string[], text: string) {
  for (const parser of parsers) {
    const groups = parse(parser, text);
    if (groups !== undefined) return { parser, ...groups };
  }
  return undefined;
}

const HOST_QEMU = ['libvirt_qemu_start', 'libvirt_qemu_end', 'libvirt_qemu_note', 'libvirt_qemu_own'];
const CONTAINER = ['libvirt_daemon', 'libvirt_qemu_start_named', ...HOST_QEMU.slice(1)];

/** Lines as a multiline parser joins them: by its rules, those that no rule starts by themselves. */
function joinLines(parser: string, lines: readonly string[]): string[] {
  const section = PARSERS.find((each) => firstOf(each, 'name') === parser) ?? assert.fail(parser);
  const rules = valuesOf(section, 'rule').map((rule) => {
    const [, from, regex, to] = /^"(\w+)"\s+"\/(.*)\/"\s+"(\w+)"$/.exec(rule) ?? assert.fail(rule);
    return { from, regex: compile(regex!), to };
  });
  const joined: string[] = [];
  let state: string | undefined;
  for (const line of lines) {
    const goesOn =
      state === undefined ? undefined : rules.find(({ from, regex }) => from === state && regex.test(line));
    const starts = rules.find(({ from, regex }) => from === 'start_state' && regex.test(line));
    if (goesOn !== undefined && starts === undefined) joined[joined.length - 1] += `\n${line}`;
    else joined.push(line);
    state = starts?.to ?? goesOn?.to;
  }
  return joined;
}

const START = [
  '2026-11-21 12:05:19.442+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4+deb12u2 (Debian), qemu version: 7.2.22Debian 1:7.2+dfsg-7+deb12u18, kernel: 6.1.0, hostname: vm',
  'LC_ALL=C \\',
  'PATH=/usr/local/sbin:/usr/sbin \\',
  'XDG_CONFIG_HOME=/var/lib/libvirt/qemu/domain-1-vm-001/.config \\',
  '/usr/bin/qemu-system-x86_64 \\',
  '-name guest=vm-001,debug-threads=on \\',
  '-S \\',
  `-object '{"qom-type":"secret","id":"masterKey0","format":"raw","file":"/var/lib/libvirt/qemu/domain-1-vm-001/master-key.aes"}' \\`,
  '-uuid 6695eb01-f6a4-8304-79aa-97f2502e193f \\',
  '-msg timestamp=on',
];
const LINES = [
  ...START,
  '2026-11-21 12:05:19.442+0000: Domain id=1 is tainted: high-privileges',
  'char device redirected to /dev/pts/0 (label charserial0)',
  '2026-11-21T12:12:40.774123Z qemu-system-x86_64: terminating on signal 15 from pid 19948 (/usr/sbin/libvirtd)',
  "2026-11-21T12:12:40.774124Z qemu-system-x86_64: warning: host doesn't support requested feature",
  '2026-11-21 12:12:41.022+0000: shutting down, reason=crashed',
];

describe('the configurations for Fluent Bit', () => {
  for (const file of ['host.conf', 'container.conf']) {
    it(`${file} names parsers that are there, and filters and outputs whose records come`, () => {
      const sections = readSections(file);
      const multiline = new Set([...named('MULTILINE_PARSER'), 'cri', 'docker']);
      for (const section of sections) {
        for (const parser of valuesOf(section, 'parser')) assert.ok(named('PARSER').includes(parser), parser);
        for (const parser of valuesOf(section, 'multiline.parser').flatMap((list) => list.split(/,\s*/))) {
          assert.ok(multiline.has(parser), parser);
        }
      }
      const tags = sections.filter(({ kind }) => kind === 'INPUT').map((section) => firstOf(section, 'tag')!);
      for (const section of sections.filter(({ kind }) => kind === 'FILTER' || kind === 'OUTPUT')) {
        const pattern = new RegExp(`^${firstOf(section, 'match')!.replaceAll('.', '\\.').replaceAll('*', '.*')}$`);
        assert.ok(
          tags.some((tag) => pattern.test(tag)),
          String(pattern),
        );
      }
      assert.deepEqual(new Set(tags).size, tags.length);
      const used = sections.filter(({ kind }) => kind === 'FILTER').map((section) => valuesOf(section, 'parser'));
      assert.ok(used.some((parsers) => parsers.join() === (file === 'host.conf' ? HOST_QEMU : CONTAINER).join()));
    });
  }

  it('their regular expressions are good in Onigmo and JavaScript alike', () => {
    const regexes = PARSERS.flatMap((section) => [...valuesOf(section, 'regex'), ...valuesOf(section, 'rule')]);
    assert.ok(regexes.length >= 11);
    for (const regex of regexes) {
      // Escapes and groups that both have, and that mean the same in both.
      for (const [, escaped] of regex.matchAll(/\\(.)/g)) assert.match(escaped!, /[dswSWb.+\\/n]/, regex);
      const plain = regex.replace(/\\./g, 'e').replace(/\(\?(?:<\w+>|:|!)/g, '(');
      assert.doesNotMatch(plain, /\(\?|[*+?}]\+|\[\[/, regex);
    }
  });

  it('the command of a start is one record, and what follows it is not of it', () => {
    assert.deepEqual(joinLines('libvirt_qemu_lines', LINES), [START.join('\n'), ...LINES.slice(START.length)]);
    assert.deepEqual(joinLines('libvirt_qemu_lines', [...START, ...START]), [START.join('\n'), START.join('\n')]);
  });

  it('the lines of a VM give time, severity, UUID and reason', () => {
    const [start, tainted, redirected, terminating, warning, end] = joinLines('libvirt_qemu_lines', LINES);
    assert.deepEqual(parseFirst(HOST_QEMU, start!), {
      parser: 'libvirt_qemu_start',
      time: '2026-11-21 12:05:19.442+0000',
      message: START.join('\n').slice('2026-11-21 12:05:19.442+0000: '.length),
      libvirt_domain_uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f',
    });
    assert.deepEqual(parseFirst(HOST_QEMU, tainted!), {
      parser: 'libvirt_qemu_note',
      time: '2026-11-21 12:05:19.442+0000',
      message: 'Domain id=1 is tainted: high-privileges',
    });
    assert.equal(parseFirst(HOST_QEMU, redirected!), undefined);
    assert.deepEqual(parseFirst(HOST_QEMU, terminating!), {
      parser: 'libvirt_qemu_own',
      time: '2026-11-21T12:12:40.774123Z',
      program: 'qemu-system-x86_64',
      severity: undefined,
      message: 'terminating on signal 15 from pid 19948 (/usr/sbin/libvirtd)',
    });
    assert.equal(parse('libvirt_qemu_own', warning!)?.severity, 'warning');
    assert.equal(parseFirst(HOST_QEMU, end!)?.parser, 'libvirt_qemu_end');
    // What Fluent Bit joins may end with a newline.
    assert.equal(parseFirst(HOST_QEMU, `${end}\n`)?.parser, 'libvirt_qemu_end');
    for (const reason of [
      'unknown',
      'shutdown',
      'destroyed',
      'crashed',
      'migrated',
      'saved',
      'failed',
      'from snapshot',
      'daemon',
    ]) {
      const line = `2026-11-21 12:12:41.022+0000: shutting down, reason=${reason}`;
      assert.equal(parse('libvirt_qemu_end', line)?.libvirt_shutdown_reason, reason);
    }
  });

  it('the name of a VM comes from its path, and in a container from its command', () => {
    const nameOf = (path: string) => parse('libvirt_qemu_path', path)?.libvirt_domain_name;
    assert.equal(nameOf('/var/log/libvirt/qemu/vm-001.log'), 'vm-001');
    assert.equal(nameOf("/var/log/libvirt/qemu/it's ä.log.0.log"), "it's ä.log.0");
    for (const [guest, name] of [
      ['-name guest=vm-001,debug-threads=on \\', 'vm-001'],
      ["-name 'guest=vm 1,debug-threads=on' \\", 'vm 1'],
      ['-name guest=a,,b,debug-threads=on \\', 'a,,b'],
    ] as const) {
      const text = START.map((line) => (line.startsWith('-name') ? guest : line)).join('\n');
      const { parser, libvirt_domain_name, libvirt_domain_uuid } = parseFirst(CONTAINER, text) as Record<
        string,
        string
      >;
      assert.deepEqual(
        [parser, libvirt_domain_name, libvirt_domain_uuid],
        ['libvirt_qemu_start_named', name, '6695eb01-f6a4-8304-79aa-97f2502e193f'],
      );
    }
  });

  it('the lines of a daemon give time, thread, severity and place, messages of several lines whole', () => {
    const lines = [
      '2026-11-21 12:04:31.705+0000: 15623: info : libvirt version: 9.0.0, package: 9.0.0-4+deb12u2 (Debian)',
      '2026-11-21 12:04:31.705+0000: 15623: info : hostname: vm',
      '2026-11-21 12:04:31.705+0000: 15623: error : dnsmasqCapsNewFromBinary:673 : first',
      'second',
      '',
      '2026-11-21 12:04:31.706+0000: 15624: warning : f:1 : third',
    ];
    const joined = joinLines('libvirt_daemon_lines', lines);
    assert.deepEqual(
      joined.map((text) => ({ ...parse('libvirt_daemon', text) })),
      [
        ['info', undefined, undefined, 'libvirt version: 9.0.0, package: 9.0.0-4+deb12u2 (Debian)', '705', '15623'],
        ['info', undefined, undefined, 'hostname: vm', '705', '15623'],
        ['error', 'dnsmasqCapsNewFromBinary', '673', 'first\nsecond', '705', '15623'],
        ['warning', 'f', '1', 'third', '706', '15624'],
      ].map(([severity, code_function, code_line, message, millis, thread_id]) => ({
        time: `2026-11-21 12:04:31.${millis}+0000`,
        thread_id,
        severity,
        code_function,
        code_line,
        message,
      })),
    );
    for (const text of joined) assert.equal(parseFirst(CONTAINER, text)?.parser, 'libvirt_daemon');
  });
});

describeLab('a real Fluent Bit', ['libvirt', 'journald', 'fluent-bit'], () => {
  let host: LibvirtHost;
  before(async () => {
    host = await startLibvirt({ journald: true });
  });
  after(() => host?.stop());

  /** Runs a configuration in the place where libvirt writes; only the paths that are given are others. */
  async function run(file: string, paths: Readonly<Record<string, string>>): Promise<() => Record<string, unknown>[]> {
    const dir = join(host.cage.dir, file);
    mkdirSync(join(dir, 'state'), { recursive: true });
    copyFileSync(join(FOLDER, 'parsers.conf'), join(dir, 'parsers.conf'));
    let text = readFileSync(join(FOLDER, file), 'utf8');
    for (const [from, to] of Object.entries({ '/var/lib/fluent-bit': join(dir, 'state'), ...paths })) {
      text = text.replaceAll(from, to);
    }
    writeFileSync(join(dir, file), text);
    const { logPath } = await host.cage.start(`fluent-bit-${file}`, ['fluent-bit', '-q', '-c', join(dir, file)]);
    return () =>
      tail(logPath, Number.POSITIVE_INFINITY)
        .split('\n')
        .filter((line) => line.startsWith('{') && line.endsWith('}'))
        .map((line) => JSON.parse(line));
  }

  /** Waits until a record has these fields; a pattern must match. */
  function waitForFields(read: () => Record<string, unknown>[], fields: Readonly<Record<string, unknown>>) {
    const has = (record: Record<string, unknown>) =>
      Object.entries(fields).every(([name, value]) =>
        value instanceof RegExp ? value.test(String(record[name])) : record[name] === value,
      );
    return waitFor(
      () => read().find(has),
      () =>
        `no record has ${JSON.stringify(fields)}: ${read()
          .map((record) => JSON.stringify(record).slice(0, 300))
          .join('\n')}`,
    );
  }

  const WRONG =
    "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-no-such-option'/></qemu:commandline>";
  const uuid = '0d4c3a0e-2f8f-4b6c-9d3e-5b7f1c2a9e10';
  const name = "it's, a VM";
  const time = (record: Record<string, unknown>) => Math.abs(Number(record.date) * 1000 - Date.now()) < 3_600_000;

  it('takes host.conf as it is, and gets every field out of the logs of a real libvirtd and QEMU', async () => {
    const read = await run('host.conf', {});
    await assert.rejects(host.createDomain({ name: 'failing', extraXml: WRONG }));
    await host.createDomain({ name, uuid });
    await host.virsh('destroy', name);
    const error = await waitForFields(read, { message: /^internal error: .*-no-such-option/, severity: 'error' });
    assert.deepEqual([error.code_function, error.systemd_unit], ['qemuProcessReportLogError', 'libvirtd.service']);
    const of = { libvirt_domain_name: name };
    const start = await waitForFields(read, { ...of, message: /^starting up libvirt.*\n[\s\S]*\n-msg timestamp=on$/ });
    assert.equal(start.libvirt_domain_uuid, uuid);
    await waitForFields(read, { ...of, message: /is tainted: high-privileges$/ });
    const own = await waitForFields(read, {
      ...of,
      program: 'qemu-system-x86_64',
      message: /^terminating on signal 15/,
    });
    await waitForFields(read, { ...of, libvirt_shutdown_reason: 'destroyed' });
    await waitForFields(read, { libvirt_domain_name: 'failing', libvirt_shutdown_reason: 'failed', severity: 'error' });
    for (const record of [error, start, own]) assert.ok(time(record), JSON.stringify(record));
  });

  it("takes container.conf as it is, and finds QEMU's lines among those of a daemon", async () => {
    const file = join(host.cage.dir, 'libvirt-0_openstack_libvirt-01.log');
    const daemon = '2026-11-21 12:04:31.705+0000: 15623: error : f:673 : internal error:\nsecond line\n';
    const lines = (daemon + readFileSync(host.qemuLogPath(name), 'utf8')).trimEnd().split('\n');
    // As containerd cuts long lines.
    const cri = lines.flatMap((line) => {
      const parts = line.match(/.{1,100}/g) ?? [''];
      return parts.map((part, at) => `2026-11-21T12:12:40.1Z stderr ${at < parts.length - 1 ? 'P' : 'F'} ${part}\n`);
    });
    writeFileSync(file, cri.join(''));
    const read = await run('container.conf', { '/var/log/containers/*libvirt*.log': file });
    await waitForFields(read, {
      ...{ severity: 'error', thread_id: 15623, code_function: 'f', code_line: 673 },
      message: 'internal error:\nsecond line',
    });
    const start = await waitForFields(read, { message: /^starting up libvirt.*\n[\s\S]*\n-msg timestamp=on$/ });
    assert.deepEqual([start.libvirt_domain_name, start.libvirt_domain_uuid], ["it'\\''s,, a VM", uuid]);
    await waitForFields(read, { libvirt_shutdown_reason: 'destroyed' });
  });

  it('takes and acknowledges what virtlens logs sends, plain, compressed and with a shared key', async () => {
    const dir = join(host.cage.dir, 'forward');
    mkdirSync(dir);
    writeFileSync(join(dir, 'key'), 'the shared key\n');
    const plain = ['[INPUT]', 'Name forward', 'Listen 127.0.0.1', 'Port 24224'];
    const keyed = ['[INPUT]', 'Name forward', 'Listen 127.0.0.1', 'Port 24225', 'Shared_Key the shared key'];
    const output = ['[OUTPUT]', 'Name stdout', 'Match *', 'Format json_lines'];
    const lines = ['[SERVICE]', 'Flush 1', ...plain, ...keyed, 'Self_Hostname fluent-bit', ...output];
    writeFileSync(
      join(dir, 'forward.conf'),
      lines.map((line) => (line.startsWith('[') ? `${line}\n` : `    ${line}\n`)).join(''),
    );
    const { logPath } = await host.cage.start('forward', ['fluent-bit', '-q', '-c', join(dir, 'forward.conf')]);
    for (const [index, flags] of [
      ['--forward.address=127.0.0.1:24224'],
      ['--forward.address=127.0.0.1:24224', '--forward.compression=gzip'],
      ['--forward.address=127.0.0.1:24225', `--forward.shared-key-file=${join(dir, 'key')}`],
    ].entries()) {
      const logs = join(dir, `logs-${index}`);
      mkdirSync(logs);
      writeFileSync(join(logs, 'vm.log'), `2026-11-21 12:05:19.442+0000: message ${index}\n`);
      const args = [
        'logs',
        '--source=qemu',
        `--qemu.log-dir=${logs}`,
        `--state.dir=${join(dir, `state-${index}`)}`,
        ...flags,
      ];
      await using agent = await Agent.start(args, {
        // The network of Fluent Bit is its own; the page is out of reach.
        prefix: ['nsenter', `--net=/proc/${host.libvirtdPid}/ns/net`],
      });
      await waitFor(
        () => (tail(logPath, Number.POSITIVE_INFINITY).includes(`"message":"message ${index}"`) ? true : undefined),
        () => `message ${index} does not come: ${tail(logPath)}\n${agent.log}`,
      );
      // Acknowledged: what is noted as under way is not sent again.
      await agent.stop();
      assert.deepEqual(agent.logLines(/level=(WARN|ERROR)/), []);
      await using again = await Agent.start(args, { prefix: ['nsenter', `--net=/proc/${host.libvirtdPid}/ns/net`] });
      await again.stop();
    }
    const records = tail(logPath, Number.POSITIVE_INFINITY)
      .split('\n')
      .filter((line) => line.startsWith('{'));
    assert.deepEqual(
      records.map((line) => JSON.parse(line)).map(({ message, ...record }) => [message, record['libvirt.domain.name']]),
      [0, 1, 2].map((index) => [`message ${index}`, 'vm']),
    );
  });
});
