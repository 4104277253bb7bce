import { type Route, sendWhole } from './route.ts';

/** What the page at `/` says beside its links. */
export interface LandingPage {
  readonly title: string;
  readonly description: string;
  readonly version: string;
}

/** `/`: a page with a link to every other route that has a title. */
export function landingRoute(page: LandingPage): Route {
  const route: Route = {
    path: '/',
    handle(request, response, { routes }) {
      const linked = routes.filter((other) => other !== route && other.title !== undefined);
      sendWhole(request, response, 200, 'text/html; charset=utf-8', Buffer.from(render(page, linked)));
    },
  };
  return route;
}

/** The page as HTML. It loads nothing from anywhere. */
function render(page: LandingPage, routes: readonly Route[]): string {
  const items = routes.map(
    ({ path, title = path, description }) =>
      `      <li><a href="${escapeHtml(path)}">${escapeHtml(title)}</a>${description === undefined ? '' : ` – ${escapeHtml(description)}`}</li>`,
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
