import { quote } from '../base/text.ts';
import { WebError } from './error.ts';
import { type Route, type RouteContext, sendText, type WebRequest, type WebResponse } from './route.ts';

const ALLOWED_METHODS = 'GET, HEAD';

/** Replies to one request. It rejects when something failed. */
export type Handle = (request: WebRequest, response: WebResponse, context: RouteContext) => Promise<void>;

/**
 * Makes the function that passes a request to its route.
 * @throws WebError `ERR_WEB_PATH_INVALID`, `ERR_WEB_PATH_CONFLICT`
 */
export function createRouter(routes: readonly Route[]): Handle {
  const byPath = new Map<string, Route>();
  for (const route of routes) {
    checkPath(route);
    const other = byPath.get(route.path);
    if (other !== undefined) {
      throw new WebError(
        'ERR_WEB_PATH_CONFLICT',
        `the path ${quote(route.path)} is wanted by both ${nameOf(other)} and ${nameOf(route)}; choose another path, such as "/metrics"`,
      );
    }
    byPath.set(route.path, route);
  }
  const notFound = `404 not found: see ${routes.map(({ path }) => path).join(', ')}\n`;

  return async (request, response, context) => {
    const route = byPath.get(pathOf(request.url ?? ''));
    if (route === undefined) return sendText(request, response, 404, notFound);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', ALLOWED_METHODS);
      return sendText(request, response, 405, `405 method not allowed: use ${ALLOWED_METHODS}\n`);
    }
    return route.handle(request, response, context);
  };
}

function nameOf({ title }: Route): string {
  return quote(title ?? 'a page without a title');
}

function checkPath(route: Route): void {
  const { path } = route;
  const invalid = (rule: string) =>
    new WebError('ERR_WEB_PATH_INVALID', `the path ${quote(path)} of ${nameOf(route)} cannot be used: ${rule}`);
  if (!path.startsWith('/')) throw invalid(`it must begin with a slash; write ${quote(`/${path}`)}`);
  if (/[?#\s%\p{Cc}]/u.test(path)) throw invalid('it has a space or one of ?#%; write a plain path such as "/metrics"');
  if (path.startsWith('//')) throw invalid('it begins with two slashes; write one');
}

/** The path of a request target, which may carry a query or be a whole URL (RFC 9112, 3.2.2); empty when it is malformed. */
export function pathOf(target: string): string {
  const path = target.replace(/^https?:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '');
  try {
    return path === '' ? '/' : decodeURIComponent(path);
  } catch {
    return '';
  }
}
