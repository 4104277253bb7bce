// The records that `virtlens logs` writes to standard output.
import type { AgentProcess } from '../lab/agent.ts';
import { waitFor } from '../lab/cage.ts';

export type JsonRecord = Readonly<Record<string, unknown>>;

/** The records of whole lines. */
export function recordsOf(text: string): JsonRecord[] {
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as JsonRecord);
}

/** Their messages, in the order of their coming. */
export function messagesOf(agent: AgentProcess): string[] {
  return recordsOf(agent.stdout).map(({ message }) => String(message));
}

/** Waits until the agent has written a record that matches. */
export function waitForRecord(
  agent: AgentProcess,
  what: string,
  matches: (record: JsonRecord) => boolean,
): Promise<JsonRecord> {
  const find = () => recordsOf(agent.stdout).find(matches);
  return waitFor(find, () => `there is no record ${what}:\n${agent.stdout.slice(-4000)}\n${agent.log}`, 60_000);
}

/** Waits until the agent has written this message. */
export function waitForMessage(agent: AgentProcess, message: string): Promise<JsonRecord> {
  return waitForRecord(agent, `'${message}'`, (record) => record.message === message);
}
