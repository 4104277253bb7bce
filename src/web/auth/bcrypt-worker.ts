// A thread of its own for bcrypt: a comparison takes some 60 ms of CPU at the usual cost, and nothing else is done meanwhile.
import { parentPort } from 'node:worker_threads';
import { compareSync } from 'bcryptjs';

/** What the thread is asked; it sends back whether they match. */
export interface Comparison {
  readonly password: string;
  readonly hash: string;
}

parentPort?.on('message', ({ password, hash }: Comparison) => {
  parentPort?.postMessage(compareSync(password, hash));
});
