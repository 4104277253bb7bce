import type { StorageConfig } from '../../model/proxmox-snapshot.ts';

const HEADER = /^([a-z][a-z0-9_-]*):\s*(\S+)\s*$/i;
const PROPERTY = /^\s+(\S+)(?:\s+(.*?))?\s*$/;

/**
 * Reads storage.cfg (PVE::SectionConfig): sections that begin with `type: name` and end at an empty line, with a property on each indented
 * line; `#` begins a comment. A property without a value is a switch that is on. Of two sections with one name the first is kept, as of two
 * properties.
 */
export function readStorageConfig(text: string): readonly StorageConfig[] {
  const sections = new Map<string, StorageConfig & { readonly properties: Map<string, string> }>();
  let properties: Map<string, string> | undefined;
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#') || /^\s+#/.test(line)) continue;
    if (line.trim() === '') {
      properties = undefined;
      continue;
    }
    const property = PROPERTY.exec(line);
    if (property !== null) {
      const [, key, value = ''] = property;
      if (properties?.has(key!) === false) properties.set(key!, value === '' ? 'true' : value);
      continue;
    }
    const header = HEADER.exec(line);
    properties = undefined;
    if (header === null || sections.has(header[2]!)) continue;
    properties = new Map();
    sections.set(header[2]!, { type: header[1]!, name: header[2]!, properties });
  }
  return [...sections.values()];
}

/** What Proxmox reads as yes (PVE::JSONSchema::parse_boolean). */
export function isYes(value: string | undefined): boolean {
  return value !== undefined && /^(?:1|on|yes|true)$/i.test(value);
}

/** What Proxmox reads as no. */
export function isNo(value: string): boolean {
  return /^(?:0|off|no|false)$/i.test(value);
}
