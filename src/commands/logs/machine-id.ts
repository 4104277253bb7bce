import { readFileSync } from 'node:fs';

/** 32 hexadecimal digits (machine-id(5)); undefined on a machine that has none. */
export function readMachineId(): string | undefined {
  try {
    return /^[0-9a-f]{32}$/.exec(readFileSync('/etc/machine-id', 'utf8').trim())?.[0];
  } catch {
    return undefined;
  }
}
