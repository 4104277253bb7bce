/** The mount points of /proc/PID/mountinfo (proc(5)), as the process with that id sees them. Reading them asks no file system. */
export function readMountPoints(text: string): ReadonlySet<string> {
  const points = new Set<string>();
  for (const line of text.split('\n')) {
    const point = line.split(' ')[4];
    // The kernel writes white space and backslashes as three octal digits.
    if (point !== undefined) points.add(decode(point));
  }
  return points;
}

function decode(text: string): string {
  return text.replace(/\\([0-3][0-7]{2})/g, (_all, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
