import assert from 'node:assert/strict';
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';

const CHILD = join(import.meta.dirname, '..', '..', '..', 'test', 'support', 'telegraf-child.ts');

interface Child {
  readonly process: ChildProcess;
  /** Standard output until it holds so many lines. */
  lines(count: number): Promise<string>;
  /** Standard error until it holds the text. */
  said(text: string): Promise<void>;
  exit(): Promise<number | null>;
}

function startChild(
  context: TestContext,
  argv: readonly string[],
  { stdio = 'pipe', env = {} }: { readonly stdio?: StdioOptions; readonly env?: Record<string, string> } = {},
): Child {
  const child = spawn(process.execPath, [CHILD, ...argv], { stdio, env: { ...process.env, ...env } });
  const exited = once(child, 'close');
  context.after(() => child.kill('SIGKILL'));
  const collect = (stream: Readable | null) => {
    const state = { text: '', more: Promise.withResolvers<void>() };
    const notify = () => {
      state.more.resolve();
      state.more = Promise.withResolvers();
    };
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      state.text += chunk;
      notify();
    });
    return async (enough: (text: string) => boolean) => {
      while (!enough(state.text)) {
        await Promise.race([state.more.promise, exited]);
        if (child.exitCode !== null && !enough(state.text)) assert.fail(`ended early: ${state.text}`);
      }
      return state.text;
    };
  };
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  return {
    process: child,
    lines: (count) => stdout((text) => text.split('\n').length > count),
    said: async (text) => void (await stderr((all) => all.includes(text))),
    exit: async () => (await exited)[0],
  };
}

test('a newline on standard input gathers; its end ends the process', async (context) => {
  const child = startChild(context, ['--host-tag=h']);
  child.process.stdin?.write('\n');
  assert.equal(await child.lines(1), 'libvirt_state,domain_name=x,host=h state=1i,reason=1i 1700000000000000000\n');
  child.process.stdin?.end();
  assert.equal(await child.exit(), 0);
});

test('SIGHUP, SIGUSR1 and SIGUSR2 gather, SIGTERM ends', async (context) => {
  const child = startChild(context, []);
  child.process.stdin?.write('\n');
  await child.lines(1);
  for (const [index, signal] of (['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const).entries()) {
    child.process.kill(signal);
    await child.lines(index + 2);
  }
  child.process.kill('SIGTERM');
  assert.equal(await child.exit(), 0);
});

test('all that was asked for is printed before the process ends, however slow the reader', async (context) => {
  const child = startChild(context, ['--host-tag='], { env: { NAME_LENGTH: '1000000' } });
  child.process.stdin?.end('\n');
  await child.said('Standard input is closed');
  const text = await child.lines(1);
  assert.equal(text.length, 'libvirt_state,domain_name= state=1i,reason=1i 1700000000000000000\n'.length + 1_000_000);
  assert.equal(await child.exit(), 0);
});

test('a reader that goes away ends the process without a complaint', async (context) => {
  const child = startChild(context, []);
  child.process.stdout?.destroy();
  child.process.stdin?.write('\n');
  assert.equal(await child.exit(), 0);
});

test('/dev/null as standard input ends a run for Telegraf, and not one that writes to InfluxDB', async (context) => {
  const stdio: StdioOptions = ['ignore', 'pipe', 'pipe'];
  assert.equal(await startChild(context, [], { stdio }).exit(), 0);
  const config = join(mkdtempSync(join(tmpdir(), 'virtlens-telegraf-')), 'telegraf.conf');
  context.after(() => rmSync(dirname(config), { recursive: true }));
  writeFileSync(config, '[[inputs.libvirt]]\ninterval = "500ms"');
  const argv = ['--config', config, '--influx.url=http://127.0.0.1:9', '--influx.database=d'];
  const service = startChild(context, argv, { stdio });
  await service.said('E! InfluxDB at http://127.0.0.1:9 cannot be written to');
  service.process.kill('SIGTERM');
  await service.said('points were not written');
  assert.equal(await service.exit(), 0);
});

test('--once ends by itself', async (context) => {
  const child = startChild(context, ['--once']);
  await child.lines(1);
  assert.equal(await child.exit(), 0);
});
