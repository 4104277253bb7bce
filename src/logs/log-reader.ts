import { basename, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { Reported } from '../base/reported.ts';
import { openStateDir, type StateDir } from '../base/state-dir.ts';
import type { LogSink } from '../model/log-sink.ts';
import type { MetricFamily } from '../model/metric.ts';
import { Checkpoint } from './checkpoint/checkpoint.ts';
import { AbnormalEnds } from './delivery/abnormal-ends.ts';
import { Lane } from './delivery/lane.ts';
import { logFamilies, type SourceStatus } from './delivery/log-families.ts';
import { qemuLogOf } from './sources/chain.ts';
import { explainDenial } from './sources/denial.ts';
import { FileSource } from './sources/file-source.ts';
import { JournalSource } from './sources/journal.ts';
import type { JournalChoice } from './sources/journalctl.ts';
import { LogDirectory } from './sources/log-directory.ts';
import { StandardInput } from './sources/standard-input.ts';
import type { LogSource } from './sources/stream.ts';

/** What is read; what is absent is not. */
export interface LogChoice {
  readonly journal: JournalChoice | undefined;
  /** QEMU's logs, one file a VM. */
  readonly qemuLogDir: string | undefined;
  readonly daemonLogFiles: readonly string[];
  readonly readsStandardInput: boolean;
}

export interface LogReaderOptions {
  readonly choice: LogChoice;
  /** Where logs are begun that were never read: what is there already is read, or left out. */
  readonly readsFrom: 'beginning' | 'end';
  readonly keepsSecrets: boolean;
  readonly stateDir: string;
  /** By the name of each one in metrics, which its checkpoint has too. */
  readonly sinks: ReadonlyMap<string, LogSink>;
  readonly input: Readable;
  /** Called when no sink takes anything any more, or standard input was the only source and all of it is delivered. */
  readonly onEnd: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A running delivery of logs, whose sources have all been looked at once. */
export interface LogReader {
  families(): Iterable<MetricFamily>;
  /** The sink of a name has taken a batch without some of its records. */
  noteRejected(sink: string, records: number): void;
  close(): Promise<void>;
}

/** For the batches that are under way when it ends. */
const CLOSE_TIMEOUT_MS = 3000;

interface FileGroup {
  readonly name: string;
  readonly directory: LogDirectory;
  readonly dialect: 'qemu' | 'daemon';
}

/**
 * Reads logs and delivers them to sinks until it is closed.
 * @throws StateDirError when the state directory cannot be used
 */
export async function openLogReader(options: LogReaderOptions): Promise<LogReader> {
  const state = await openStateDir(options.stateDir, options.logger);
  try {
    return await start(options, state);
  } catch (error) {
    state.close();
    throw error;
  }
}

async function start(options: LogReaderOptions, state: StateDir): Promise<LogReader> {
  const { choice, sinks, input, keepsSecrets, readsFrom, onEnd, clock, logger } = options;
  const ends = new AbnormalEnds();
  const lanes: Lane[] = [];
  const wakeAll = () => {
    for (const lane of lanes) lane.wake();
  };
  const groups = fileGroups(choice, wakeAll, clock, logger);
  const standardInput = choice.readsStandardInput
    ? new StandardInput({ input, keepsSecrets, onChange: wakeAll, clock })
    : undefined;
  const journals: JournalSource[] = [];
  const denied = new Reported<string>();
  const onDenied = (path: string, error: unknown) => {
    const line = explainDenial(path, error);
    if (denied.note(path, line)) logger.error(line);
  };
  let openLanes = sinks.size;
  const prepared: (() => void)[] = [];
  for (const [name, sink] of sinks) {
    const checkpoint = await Checkpoint.open(join(state.path, `${name}.checkpoint`), clock, logger);
    const lane = new Lane({
      ...{ name, sink, checkpoint, clock, logger },
      startsAtEnd: readsFrom === 'end',
      onAbnormalEnd: (end) => ends.note(end),
      onClosed: () => {
        if (--openLanes === 0) onEnd();
      },
    });
    const sources: LogSource[] = groups.map(
      (group) =>
        new FileSource({ ...group, keepsSecrets, positions: checkpoint, onGap: lane.noteGap, onDenied, clock }),
    );
    if (choice.journal !== undefined) {
      const journal = new JournalSource({
        ...{ choice: choice.journal, keepsSecrets, positions: checkpoint, clock, logger },
        onChange: lane.wake,
        onGap: lane.noteGap,
      });
      journals.push(journal);
      sources.push(journal);
    }
    if (standardInput !== undefined) sources.push(standardInput.openReader());
    lanes.push(lane);
    prepared.push(() => lane.start(sources));
  }
  for (const { directory } of groups) await directory.start();
  for (const begin of prepared) begin();
  standardInput?.start();
  const isOnlyInput = groups.length === 0 && choice.journal === undefined;
  if (standardInput !== undefined && isOnlyInput) void standardInput.drained.then(onEnd);
  const isReadable = (dialect: FileGroup['dialect']) =>
    groups.filter((group) => group.dialect === dialect).every(({ directory }) => directory.isReadable);
  const status = (): SourceStatus[] => [
    ...(choice.qemuLogDir === undefined ? [] : [{ name: 'qemu', isReadable: isReadable('qemu') }]),
    ...(choice.daemonLogFiles.length === 0 ? [] : [{ name: 'daemon', isReadable: isReadable('daemon') }]),
    ...(journals.length === 0 ? [] : [{ name: 'journal', isReadable: journals.every((each) => each.isReadable) }]),
    ...(standardInput === undefined ? [] : [{ name: 'stdin', isReadable: true }]),
  ];
  return {
    noteRejected: (sink, records) => lanes.find(({ name }) => name === sink)?.noteRejected(records),
    families: () => logFamilies(lanes, status(), ends),
    async close() {
      for (const { directory } of groups) directory.close();
      standardInput?.close();
      await Promise.all(lanes.map((lane) => lane.close(CLOSE_TIMEOUT_MS)));
      state.close();
    },
  };
}

function fileGroups(
  { qemuLogDir, daemonLogFiles }: LogChoice,
  onChange: () => void,
  clock: Clock,
  logger: Logger,
): FileGroup[] {
  const open = (dir: string, isLive: (name: string) => boolean) =>
    new LogDirectory({ dir, isLive, onChange, clock, logger });
  const groups: FileGroup[] = [];
  if (qemuLogDir !== undefined) {
    const directory = open(qemuLogDir, (name) => qemuLogOf(name) !== undefined);
    groups.push({ name: 'qemu', dialect: 'qemu', directory });
  }
  for (const path of daemonLogFiles) {
    const live = Buffer.from(basename(path)).toString('latin1');
    const directory = open(dirname(path), (name) => name === live);
    groups.push({ name: `daemon@${path}`, dialect: 'daemon', directory });
  }
  return groups;
}
