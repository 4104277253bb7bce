// What the daemons with an HTTP interface have in common: they are up when a path answers.
import { Cage, type CagedProcess, tail, waitFor } from './cage.ts';

/** A daemon in a cage of its own, and where its HTTP interface is. */
export interface HttpDaemon {
  readonly cage: Cage;
  readonly process: CagedProcess;
  /** Without a slash at the end. */
  readonly url: string;
}

/**
 * Starts a daemon and waits until `readyPath` answers with a 2xx status. On failure nothing is left.
 * @param argv makes the command line once the cage is there, since files may have to be written into it.
 */
export async function startHttpDaemon(
  name: string,
  port: number,
  readyPath: string,
  argv: (dir: string) => readonly string[],
): Promise<HttpDaemon> {
  const cage = await Cage.open();
  const url = `http://127.0.0.1:${port}`;
  try {
    const process = await cage.start(name, argv(cage.dir));
    const explain = () => `lab: ${name} does not come up:\n${tail(process.logPath)}`;
    const answers = async () => {
      if (!process.isAlive()) throw new Error(explain());
      const response = await fetch(url + readyPath).catch(() => undefined);
      await response?.body?.cancel();
      return response?.ok === true ? true : undefined;
    };
    await waitFor(answers, explain, 60_000);
    return { cage, process, url };
  } catch (error) {
    await cage.stop();
    throw error;
  }
}
