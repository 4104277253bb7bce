// What `npm start` runs: builds the agent and serves the local libvirt daemon, or the simulated hypervisor where there is none.
// Arguments go to the agent as they are; with a command (`npm start -- telegraf …`) or a --libvirt.uri nothing is chosen for the user.
import { dial } from '../src/libvirt/transports/dial.ts';
import { parseLibvirtUri } from '../src/libvirt/uri.ts';
import { BUNDLE, buildAgent } from './build.ts';

const PROBE_TIMEOUT_MS = 2_000;

await buildAgent(BUNDLE);

const args = process.argv.slice(2);
const isServe = args[0] === undefined || args[0] === 'serve' || args[0].startsWith('-');
const isInformation = args.some((arg) => ['--help', '-h', '--version'].includes(arg));
if (isServe && !isInformation && !args.some((arg) => arg.startsWith('--libvirt.uri'))) {
  const found = await findLocalDaemon();
  const uri = found === undefined ? 'test:///default' : 'qemu:///system';
  const what =
    found === undefined
      ? 'a simulated hypervisor (no local libvirt daemon found)'
      : `the local libvirt daemon (${found})`;
  process.stderr.write(
    `virtlens serves ${what}: look at ${metricsAddress()}; to serve another: npm start -- --libvirt.uri=URI\n`,
  );
  args.push(`--libvirt.uri=${uri}`);
}
// In this process's place, so that signals reach the agent itself.
process.execve!(process.execPath, [process.execPath, BUNDLE, ...args]);

/** What leads to the local daemon, if one takes connections. */
async function findLocalDaemon(): Promise<string | undefined> {
  try {
    const { stream, description } = await dial(parseLibvirtUri('qemu:///system'), {
      readWrite: false,
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    });
    stream.destroy();
    return description;
  } catch {
    return undefined;
  }
}

function metricsAddress(): string {
  const given = (name: string): string | undefined => {
    const at = args.findIndex((arg) => arg === name || arg.startsWith(`${name}=`));
    return at < 0 ? undefined : args[at]!.includes('=') ? args[at]!.slice(name.length + 1) : args[at + 1];
  };
  const address = given('--web.listen-address') ?? ':9177';
  return `http://${address.startsWith(':') ? `localhost${address}` : address}${given('--web.telemetry-path') ?? '/metrics'}`;
}
