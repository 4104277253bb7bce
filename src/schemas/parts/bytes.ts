import { type Int64, scaleInt64 } from '../../base/int64.ts';

/** KiB, as libvirt reports memory, in bytes. */
export function bytesOfKiB(kibibytes: Int64 | undefined): Int64 | undefined {
  return kibibytes === undefined ? undefined : scaleInt64(kibibytes, 1024);
}
