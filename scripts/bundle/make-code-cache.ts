// A process of its own that serves a few scrapes with the part `main` and writes V8's code cache of it: of what a start needs, and nothing else.
// `node make-code-cache.ts PART OUTFILE`, with the flags of V8 that the agent starts with.
import { readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { dirname, join } from 'node:path';
import type { runProcess } from '../../src/commands/process.ts';
import { createSimulator, DEMO_HOST } from '../../src/sim/index.ts';
import { compilePart, type PartStore, runPart } from './part-reader.ts';

const SCRAPES = 3;

const [, , partPath, outfile] = process.argv as [string, string, string, string];
const store: PartStore = {
  path: partPath,
  read: () => {
    throw new Error('a part that should be lazy is loaded at the start');
  },
};
const script = compilePart(store, 'main', { source: readFileSync(partPath, 'latin1'), codeCache: undefined });
const exported = runPart(store, script, (name) => store.read(name)) as { readonly runProcess: typeof runProcess };

const simulator = createSimulator(DEMO_HOST);
const socket = join(dirname(outfile), 'socket');
await simulator.listen({ path: socket });
const { promise: listening, resolve: noteAddress } = Promise.withResolvers<string>();
process.stderr.write = (chunk) => {
  const address = /msg="Listening on" address=(\S+)/.exec(String(chunk))?.[1];
  if (address !== undefined) noteAddress(address);
  return true;
};
const stops: (() => void)[] = [];
const ended = exported.runProcess(
  ['serve', `--libvirt.uri=test+unix:///default?socket=${socket}`, '--web.listen-address=127.0.0.1:0'],
  (signals, callback) => {
    if (signals.includes('SIGTERM')) stops.push(callback);
  },
);
const url = `http://${await listening}/metrics`;
for (let i = 0; i < SCRAPES; i++) await scrape(url, i % 2 === 0 ? 'gzip' : 'identity');
for (const stop of stops) stop();
await ended;
await simulator.close();
writeFileSync(outfile, script.createCachedData());

function scrape(url: string, encoding: string): Promise<void> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false, headers: { 'accept-encoding': encoding } }, (response) => {
      response.resume().on('end', resolve);
    }).on('error', reject);
  });
}
