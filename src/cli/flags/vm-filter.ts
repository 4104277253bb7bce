import { quote } from '../../base/text.ts';
import { FlagError } from '../flags.ts';

/**
 * The regular expression that a flag gives for names of VMs; it matches the whole name, as Prometheus's own filters do. Undefined when there is none.
 * @throws FlagError
 */
export function compileVmFilter(flag: string, source: string | undefined): RegExp | undefined {
  // As in Prometheus's own exporters, an empty one is none.
  if (source === undefined || source === '') return undefined;
  try {
    // By itself first: what stands around it must not complete it.
    new RegExp(source, 'su');
    return new RegExp(`^(?:${source})$`, 'su');
  } catch (error) {
    const reason = (error as Error).message.replace(/^Invalid regular expression: .*: /s, '');
    throw new FlagError(
      'ERR_FLAG_VALUE',
      `--${flag} cannot be ${quote(source)}: it is no regular expression (${reason}); correct it or leave the flag out`,
    );
  }
}
