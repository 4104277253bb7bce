import { ConfigField, type ConfigSource } from '../base/config-field.ts';
import { describeError } from '../base/errno.ts';
import { VirtlensError } from '../base/error.ts';
import { findNearest } from '../base/nearest.ts';
import { cut, listWords, oneLine, quote } from '../base/text.ts';
import { type Action, actionsOf, DEFAULT_POLICY, type Policy, RULE_NAMES, type RuleName } from './policy.ts';

/** A policy that cannot be read. The message is one line that names the place, the rule and the fix. */
export class PolicyError extends VirtlensError<'ERR_HA_POLICY'> {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_HA_POLICY', message, options);
  }
}

/** What a command line or a file says of a policy; the rest is as it was. */
export interface PolicyChanges {
  readonly actions: Partial<Record<RuleName, Action>>;
  readonly ioErrorCount: number | undefined;
  readonly ioErrorWindowMs: number | undefined;
}

export const IO_ERROR_COUNT_MAX = 1_000;
/** A shorter window can hold one error at most. */
export const IO_ERROR_WINDOW_MIN_MS = 100;

/** The default policy with changes; later ones win. */
export function applyChanges(...changes: readonly PolicyChanges[]): Policy {
  const last = <T>(values: readonly (T | undefined)[], otherwise: T) =>
    values.findLast((value) => value !== undefined) ?? otherwise;
  return {
    actions: Object.assign({}, DEFAULT_POLICY.actions, ...changes.map(({ actions }) => actions)),
    ioError: {
      count: last(
        changes.map(({ ioErrorCount }) => ioErrorCount),
        DEFAULT_POLICY.ioError.count,
      ),
      windowMs: last(
        changes.map(({ ioErrorWindowMs }) => ioErrorWindowMs),
        DEFAULT_POLICY.ioError.windowMs,
      ),
    },
  };
}

/**
 * Reads a policy file: YAML with `rules` (a name to an action each) and `io-error` (`count`, `window`).
 * @param file what errors call it
 * @throws PolicyError
 */
export async function readPolicyFile(text: string, file: string): Promise<PolicyChanges> {
  // A part of the shipped program by itself, which most starts need not compile.
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text, { prettyErrors: true });
  const [error] = document.errors;
  if (error !== undefined) {
    throw new PolicyError(`policy ${file} is no valid YAML: ${oneLine(describeError(error))}; correct it`);
  }
  let content: unknown;
  try {
    // A key without a value is not there.
    content = document.toJS({ mapAsMap: true, reviver: (_, value) => value ?? undefined });
  } catch (cause) {
    throw new PolicyError(`policy ${file} is no valid YAML: ${oneLine(describeError(cause))}; correct it`, { cause });
  }
  const root = new ConfigField(sourceOf(file), content).maybe((field) => field.table(['rules', 'io-error']));
  const rules = root?.rules.maybe((field) => field.table(RULE_NAMES));
  const ioError = root?.['io-error'].maybe((field) => field.table(['count', 'window']));
  const actions: Partial<Record<RuleName, Action>> = {};
  for (const name of RULE_NAMES) {
    const action = rules?.[name].maybe((field) => field.choice(actionsOf(name)));
    if (action !== undefined) actions[name] = action;
  }
  return {
    actions,
    ioErrorCount: ioError?.count.maybe((field) => field.wholeNumber(1, IO_ERROR_COUNT_MAX)),
    ioErrorWindowMs: ioError?.window.maybe(readWindow),
  };
}

function readWindow(field: ConfigField): number {
  const windowMs = field.duration();
  if (windowMs < IO_ERROR_WINDOW_MIN_MS) field.refuse(`must be at least ${IO_ERROR_WINDOW_MIN_MS}ms`, 'write 10m, say');
  return windowMs;
}

/**
 * Reads `RULE=ACTION`.
 * @throws PolicyError whose message completes "--policy.rule ".
 */
export function readRuleSetting(text: string): readonly [rule: RuleName, action: Action] {
  const [name = '', ...rest] = text.split('=');
  const shown = quote(cut(text, 80));
  const rule = RULE_NAMES.find((each) => each === name);
  if (rest.length === 0) throw new PolicyError(`cannot be ${shown}: write RULE=ACTION, such as watchdog=log`);
  if (rule === undefined) {
    const nearest = findNearest(name, RULE_NAMES);
    const fix = nearest === undefined ? `the rules are ${RULE_NAMES.join(', ')}` : `did you mean ${nearest}?`;
    throw new PolicyError(`cannot be ${shown}: there is no such rule; ${fix}`);
  }
  const value = rest.join('=');
  const action = actionsOf(rule).find((each) => each === value);
  if (action === undefined) {
    throw new PolicyError(`cannot be ${shown}: ${rule} must be ${listWords(actionsOf(rule))}`);
  }
  return [rule, action];
}

function sourceOf(file: string): ConfigSource {
  return {
    name: `policy ${file}`,
    forms: { table: '"name: value", each on a line of its own', list: '"- text", each on a line of its own' },
    makeError: (message, cause) => new PolicyError(message, { cause }),
  };
}
