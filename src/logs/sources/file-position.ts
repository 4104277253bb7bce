import type { AssemblyState } from '../parse/assembler.ts';
import type { FileId } from './log-file.ts';

/** Where reading goes on. Plain data: it stands in the checkpoint. */
export interface FilePosition {
  readonly file: FileId;
  readonly offset: number;
  readonly state: AssemblyState;
}

/** A stretch of one or more files, with the state at its beginning. */
export interface FileRange {
  readonly state: AssemblyState;
  readonly segments: readonly { readonly file: FileId; readonly start: number; readonly end: number }[];
}

/** A position as the checkpoint has it; undefined when it is none. */
export function readPosition(data: unknown): FilePosition | undefined {
  if (!isObject(data) || !isFileId(data.file) || !isOffset(data.offset)) return undefined;
  return { file: data.file, offset: data.offset, state: readState(data.state) };
}

/** A range as the checkpoint has it; undefined when it is none. */
export function readRange(data: unknown): FileRange | undefined {
  if (!isObject(data) || !Array.isArray(data.segments)) return undefined;
  const segments = data.segments.filter(isSegment);
  if (segments.length === 0 || segments.length !== data.segments.length) return undefined;
  return { state: readState(data.state), segments };
}

function isSegment(data: unknown): data is FileRange['segments'][number] {
  return isObject(data) && isFileId(data.file) && isOffset(data.start) && isOffset(data.end) && data.start <= data.end;
}

function isFileId(data: unknown): data is FileId {
  if (!isObject(data) || !isObject(data.head)) return false;
  const { inode, birth, uid, head } = data;
  return [inode, birth, uid, head.hash].every((text) => typeof text === 'string') && isOffset(head.length);
}

function readState(data: unknown): AssemblyState {
  if (!isObject(data)) return {};
  const { domainName, domainUuid, isRunOpen, isContinued } = data;
  return {
    ...(typeof domainName === 'string' && { domainName }),
    ...(typeof domainUuid === 'string' && { domainUuid }),
    ...(typeof isRunOpen === 'boolean' && { isRunOpen }),
    ...(typeof isContinued === 'boolean' && { isContinued }),
  };
}

function isOffset(data: unknown): data is number {
  return Number.isSafeInteger(data) && (data as number) >= 0;
}

function isObject(data: unknown): data is Record<string, unknown> {
  return typeof data === 'object' && data !== null && !Array.isArray(data);
}
