// Writes docs/troubleshooting.md from the error codes, the messages in the source, and what scripts/troubleshooting/ says of them:
//
//   node scripts/with-runtime.mjs scripts/generate-troubleshooting.ts
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Advice, SECTIONS } from './troubleshooting/advice.ts';
import { ERROR_CLASSES, ERROR_CODES } from './troubleshooting/error-codes.ts';
import { LOG_MESSAGES } from './troubleshooting/log-messages.ts';
import { findErrorMessages, findLogCalls, readSources } from './troubleshooting/scan.ts';

/** Where the page is. */
export const TROUBLESHOOTING_DOC = fileURLToPath(new URL('../docs/troubleshooting.md', import.meta.url));

/** A message with fewer fixed letters than this finds nothing when it is searched for. */
const LETTERS_MIN = 11;

const INTRODUCTION = `# Troubleshooting

Every message that virtlens logs as a warning or an error, and every error code, with its meaning and what to do. Generated from the source by
\`scripts/generate-troubleshooting.ts\`; a test fails when it is stale. Change the tables in \`scripts/troubleshooting/\`.

## How to read a log line

    time=2026-11-21T01:02:03.045Z level=ERROR msg="libvirt cannot be reached; virtlens keeps trying" uri=qemu:///system err="…"

- \`msg\` says what happened. Search this page for its words. \`…\` stands for what varies.
- \`err\` says why. Search this page for its words too. It names the thing that failed, then the reason, and after the semicolon the fix.
- \`level=ERROR\` needs somebody, unless it heals; \`level=WARN\` may need somebody; \`level=INFO\` says, among others, when something works again.
- A trouble is logged once, not at each scrape. No new line does not mean that it is over: look for the line that says that it works again.
- What is wrong at the start is one line on standard error without \`level\`, such as \`virtlens: unknown flag --foo: …\`, and the exit code is not 0.
- \`virtlens telegraf\` writes lines as Telegraf does: \`2026-11-21T01:02:03Z E! [inputs.libvirt] …\`; \`E!\` is an error, \`W!\` a warning.
- Messages about a receiver or a Telegraf input are a sentence of their own, without \`err\`.

## Where to look first

    systemctl status virtlens                          # or virtlens-nova, virtlens-pve, virtlens-telegraf
    journalctl -u virtlens --since -1h | grep -vE 'level=(DEBUG|INFO)'   # in a pod: kubectl logs POD
    curl -i localhost:9177/-/healthy                   # 200: the process runs
    curl -i localhost:9177/-/ready                     # 200: libvirt was tried; of ha: an event would become an Eviction now, else the reason
    curl -s localhost:9177/metrics | grep -E '^libvirt_up|^virtlens_(collector_success|quarantined_domains|libvirt_blocked_calls)'

| what you see | where to look |
|---|---|
| no connection to the port | the service does not run: \`journalctl -u virtlens\`; or [the web server](#the-web-server) |
| \`libvirt_up 0\` | [reaching libvirt](#reaching-libvirt); by hand: \`time virsh -r list\` |
| \`virtlens_collector_success{…} 0\` | that part failed: [collecting](#collecting) |
| \`virtlens_quarantined_domains\` above 0 | a VM hangs; the log has its name: [collecting](#collecting) |
| \`virtlens_libvirt_blocked_calls\` above 0 and growing | libvirt hangs: \`journalctl -u libvirtd -u virtqemud\` |
| a metric is missing | [metrics.md](metrics.md): its column *Needs*, and whether its scheme is chosen with \`--schema\` |
| 401, 403, 429 | users and limits: [the web server](#the-web-server), [serve.md](serve.md#limits) |
| an Eviction is missing | \`curl -s localhost:9178/-/ready\`: [events and the HA agent](#events-and-the-ha-agent) |
| log records are missing | \`curl -s localhost:9179/metrics\`: [logs](#logs) |

More is logged with \`--log.level=debug\` (of \`virtlens pve\`: \`--loglevel=DEBUG\`). Other ports: nova 9100, pve 9116, ha 9178, logs 9179. \`virtlens nova\` writes to the file of
\`--log\`. The error codes (\`ERR_…\`) are for programs that use [the libvirt client](libvirt-client.md#errors); log lines have the message alone.
`;

/** The whole page. */
export function troubleshooting(): string {
  const sources = readSources();
  const levels = new Map(findLogCalls(sources).flatMap(({ level, messages }) => messages.map((text) => [text, level])));
  const messagesOfCode = findErrorMessages(sources, ERROR_CLASSES);
  const chapters = Object.entries(SECTIONS).map(([section, title]) => {
    const logged = Map.groupBy(ofSection(LOG_MESSAGES, section), ([, { means, fix }]) => JSON.stringify([means, fix]));
    const lines = [...logged.values()].map((entries) => logEntry(entries, levels));
    const codes = ofSection(ERROR_CODES, section).map(([code, advice]) =>
      codeEntry(code, [...(messagesOfCode.get(code) ?? [])], advice),
    );
    return [
      `## ${title}\n`,
      ...(lines.length > 0 ? ['### Lines\n', ...lines] : []),
      ...(codes.length > 0 ? ['### Reasons\n', ...codes] : []),
    ].join('\n');
  });
  return [INTRODUCTION, ...chapters].join('\n');
}

function ofSection(table: Readonly<Record<string, Advice>>, section: string): readonly [string, Advice][] {
  return Object.entries(table).filter(([, advice]) => advice.section === section);
}

/** Messages of which the same is said stand together. */
function logEntry(
  entries: readonly (readonly [string, Advice])[],
  levels: ReadonlyMap<string, string | undefined>,
): string {
  const heads = entries.map(([message, { reads }]) => {
    const level = levels.get(message);
    return `**${reads ?? code(message)}**${level === undefined ? '' : ` (${level})`}`;
  });
  const { means, fix } = entries[0]![1];
  return `${heads.join('\\\n')}\n\n- ${means}\n- *Fix:* ${fix}\n`;
}

function codeEntry(name: string, messages: readonly string[], { means, fix }: Advice): string {
  const telling = messages.filter((text) => text.replace(/[^a-z]/gi, '').length >= LETTERS_MIN);
  const examples = telling.length === 0 ? '' : `- Reads:\n${telling.map((text) => `  - ${code(text)}\n`).join('')}`;
  return `**\`${name}\`**: ${means}\n\n- *Fix:* ${fix}\n${examples}`;
}

/** A text as code; the messages have no backquotes. */
function code(text: string): string {
  return `\`${text}\``;
}

if (import.meta.main) writeFileSync(TROUBLESHOOTING_DOC, troubleshooting());
