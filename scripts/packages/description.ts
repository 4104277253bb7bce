// What the packages are, for all forms of them: files, dependencies, scripts.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import manifest from '../../package.json' with { type: 'json' };
import { ROOT } from '../bundle/root.ts';
import { renderManPage } from './man-page.ts';
import { renderDefaults, renderUnit, SERVICES, unitName } from './services.ts';

export const NAME = 'virtlens';
export const SUMMARY = 'telemetry agent for virtualization hosts';
export const DESCRIPTION = [
  'Serves the virtual machines of a libvirt host or a Proxmox VE node to',
  'Prometheus, or to Telegraf and InfluxDB, with the metric names of existing',
  'exporters. It speaks the protocol of libvirt itself and brings its runtime.',
];
export const MAINTAINER = 'The virtlens authors <virtlens@users.noreply.github.com>';

/** One file of a package. */
export interface PackageFile {
  /** Absolute. */
  readonly path: string;
  readonly mode: number;
  /** Its text, or the file that it is a copy of. */
  readonly content: string | Buffer | { readonly copyOf: string };
  /** An administrator may edit it: upgrades keep the edits. */
  readonly isConfig?: boolean;
}

/** What a package is made with. */
export interface PackageOptions {
  readonly version: string;
  /** The executable. */
  readonly binary: string;
  /** Where the package goes. */
  readonly outDir: string;
  /** Compresses less. */
  readonly isQuick?: boolean;
}

/** Seconds since the epoch that all files have, so that the same sources make the same package. */
export const TIMESTAMP = Number(process.env.SOURCE_DATE_EPOCH ?? Math.floor(Date.now() / 1000));

/** The files of every package. */
export function packageFiles(binary: string): PackageFile[] {
  return [
    { path: '/usr/bin/virtlens', mode: 0o755, content: { copyOf: binary } },
    { path: '/etc/default/virtlens', mode: 0o644, content: renderDefaults(), isConfig: true },
    ...SERVICES.map((service) => ({
      path: `/usr/lib/systemd/system/${unitName(service)}`,
      mode: 0o644,
      content: renderUnit(service),
    })),
    { path: '/usr/share/man/man1/virtlens.1.gz', mode: 0o644, content: gzip(renderManPage(binary)) },
  ];
}

/** Reproducible: without a name and a time. */
export function gzip(text: string): Buffer {
  return gzipSync(text, { level: 9 });
}

/** As dpkg and rpm order versions: a pre-release is before its release, and a dash begins something else. */
export function packageVersion(version: string): string {
  return version.replaceAll('-', '~');
}

/** The highest level takes eight times as long, and saves a seventh. */
export const XZ_LEVEL = 1;

export const LICENSE_ID = manifest.license;

export function readProjectFile(name: string): string {
  return readFileSync(join(ROOT, name), 'utf8');
}

const IF_SYSTEMD = 'if [ -d /run/systemd/system ]; then';
const UNITS = SERVICES.map(unitName).join(' ');
/** What the services write. */
const DATA_DIRECTORIES = SERVICES.flatMap(({ logsDirectory, stateDirectory }) => [
  ...(logsDirectory === undefined ? [] : [`/var/log/${logsDirectory}`]),
  ...(stateDirectory === undefined ? [] : [`/var/lib/${stateDirectory}`]),
]);

/** Shell that both forms of packages run. Services are not started by an installation: which of them a host wants is its administrator's choice. */
export const SCRIPTS = {
  /** Before the files are there, or after: the user that the services run as. */
  createUser: [
    'if ! getent passwd virtlens >/dev/null; then',
    '  useradd --system --user-group --no-create-home --home-dir /nonexistent \\',
    '    --shell /usr/sbin/nologin --comment "virtlens telemetry agent" virtlens',
    'fi',
  ],
  /** After an installation or an upgrade. */
  reload: [IF_SYSTEMD, '  systemctl daemon-reload || true', 'fi'],
  restart: [IF_SYSTEMD, `  systemctl try-restart ${UNITS} || true`, 'fi'],
  /** Before a removal. */
  stop: [IF_SYSTEMD, `  systemctl disable --now ${UNITS} || true`, 'fi'],
  /** When nothing is to be left. */
  purge: [
    `rm -rf ${DATA_DIRECTORIES.join(' ')}`,
    'if getent passwd virtlens >/dev/null; then userdel virtlens || true; fi',
    'if getent group virtlens >/dev/null; then groupdel virtlens || true; fi',
  ],
} as const satisfies Record<string, readonly string[]>;
