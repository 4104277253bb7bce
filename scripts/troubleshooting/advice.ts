/** Where a user meets something, in the order of the page. */
export const SECTIONS = {
  start: 'At the start: flags, files, directories',
  libvirt: 'Reaching libvirt',
  collecting: 'Collecting',
  web: 'The web server',
  outputs: 'Telegraf, InfluxDB and other receivers',
  proxmox: 'Proxmox VE',
  events: 'Events and the HA agent',
  logs: 'Logs',
} as const;

/** What is said of a message or an error code. */
export interface Advice {
  readonly section: keyof typeof SECTIONS;
  readonly means: string;
  /** What to do; commands in backquotes. */
  readonly fix: string;
  /** How the line reads, where the key of the table is a place in the source. */
  readonly reads?: string;
}
