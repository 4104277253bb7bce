/** What the page at `/` says. */
export interface LandingPage {
  readonly title: string;
  readonly description: string;
  readonly version: string;
  readonly links?: ReadonlyArray<{ readonly href: string; readonly text: string; readonly description?: string }>;
}

/** The page as HTML. It loads nothing from anywhere. */
export function renderLandingPage(page: LandingPage, telemetryPath: string): string {
  const links = [
    { href: telemetryPath, text: 'Metrics', description: 'for Prometheus, as text or OpenMetrics' },
    { href: '/-/healthy', text: 'Health', description: 'whether this program runs' },
    { href: '/-/ready', text: 'Readiness', description: 'whether it has something to serve' },
    ...(page.links ?? []),
  ];
  const items = links.map(
    ({ href, text, description }) =>
      `      <li><a href="${escapeHtml(href)}">${escapeHtml(text)}</a>${description ? ` – ${escapeHtml(description)}` : ''}</li>`,
  );
  const title = escapeHtml(page.title);
  return `<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title}</title>
    <style>
      :root { color-scheme: light dark; }
      body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 4rem auto; padding: 0 1rem; }
      footer { margin-top: 3rem; opacity: 0.7; }
    </style>
  </head>
  <body>
    <h1>${title}</h1>
    <p>${escapeHtml(page.description)}</p>
    <ul>
${items.join('\n')}
    </ul>
    <footer>Version ${escapeHtml(page.version)}</footer>
  </body>
</html>
`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (found) => ENTITIES[found]!);
}
