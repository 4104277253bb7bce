import type { Flag, FlagValues } from '../../cli/flags.ts';
import type { Machine } from '../../cli/machine.ts';
import type { ForwardTarget } from '../../outputs/logs/forward-sink.ts';
import type { OtlpTarget } from '../../outputs/logs/otlp-sink.ts';
import { FORWARD_FLAGS, readForwardTarget } from './forward-config.ts';
import { OTLP_FLAGS, readOtlpTarget } from './otlp-config.ts';

/** Where records go. At least one of them is there. */
export interface SinksConfig {
  /** JSON lines on standard output. */
  readonly isStdout: boolean;
  readonly otlp: OtlpTarget | undefined;
  readonly forward: ForwardTarget | undefined;
  /** What records say of where they come from. */
  readonly hostName: string;
  /** The same targets with what their files hold at the time of the call. They reject with a FlagError. */
  readonly readAgain: {
    readonly otlp: () => Promise<OtlpTarget | undefined>;
    readonly forward: () => Promise<ForwardTarget | undefined>;
  };
}

/** The rows of the flags that say where records go. */
export const SINK_FLAGS = [
  {
    kind: 'boolean',
    name: 'stdout',
    help: 'Write records as JSON lines to standard output. On when records go nowhere else.',
  },
  {
    kind: 'string',
    name: 'host-name',
    placeholder: 'NAME',
    help: "Name of the host in the records (host.name). By default the machine's name, which in a container is the container's.",
  },
  ...OTLP_FLAGS,
  ...FORWARD_FLAGS,
] as const satisfies readonly Flag[];

/**
 * Where the flags and the environment say that records go. Files that they name are read.
 * @throws FlagError
 */
export async function readSinksConfig(
  flags: FlagValues<typeof SINK_FLAGS>,
  { env, hostname }: Pick<Machine, 'env' | 'hostname'>,
): Promise<SinksConfig> {
  const readAgain = { otlp: () => readOtlpTarget(flags, env), forward: () => readForwardTarget(flags, hostname) };
  const otlp = await readAgain.otlp();
  const forward = await readAgain.forward();
  const isStdout = flags.stdout || (otlp === undefined && forward === undefined);
  return { isStdout, otlp, forward, hostName: flags['host-name'] || hostname, readAgain };
}
