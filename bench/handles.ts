// Loaded into the agent by the soak: at SIGUSR2 it collects garbage and writes what the process holds to VIRTLENS_SOAK_FILE.
import { renameSync, writeFileSync } from 'node:fs';

const file = process.env.VIRTLENS_SOAK_FILE;

process.on('SIGUSR2', () => {
  if (file === undefined) return;
  globalThis.gc?.();
  const handles: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) handles[kind] = (handles[kind] ?? 0) + 1;
  const { heapUsed, rss } = process.memoryUsage();
  writeFileSync(`${file}.new`, JSON.stringify({ heapUsed, rss, handles }));
  renameSync(`${file}.new`, file);
});
