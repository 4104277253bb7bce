import type { Clock } from '../../base/clock.ts';
import { sendText, type WebRequest, type WebResponse } from '../routes.ts';
import { createAuthenticator } from './basic-auth.ts';
import type { LiveConfig } from './live-config.ts';
import { createRateLimiter, type RateLimiter } from './rate-limit.ts';
import type { WebConfig } from './web-config.ts';

type Handle = (request: WebRequest, response: WebResponse) => Promise<void>;

/**
 * Lets requests through to `next` as the web configuration says at this moment: its rate limit, its headers, its users; all paths
 * alike, the health checks too, as exporter-toolkit does it.
 */
export function createGate(live: LiveConfig, next: Handle, clock: Clock): Handle {
  const authenticator = createAuthenticator();
  const admits = createAdmission(clock);

  return async (request, response) => {
    const { config } = live.current();
    if (!admits(config.rateLimit)) {
      response.setHeader('Retry-After', Math.ceil((config.rateLimit?.intervalMs ?? 0) / 1000));
      return sendText(request, response, 429, '429 too many requests: the rate limit of the web config is reached\n');
    }
    for (const [name, value] of config.headers) response.setHeader(name, value);
    if (config.users.size > 0) {
      const verdict = await authenticator.check(config.users, request.headers.authorization);
      if (verdict === 'busy')
        return sendText(request, response, 503, '503 too many passwords to check: try again later\n');
      if (verdict === 'refused') {
        response.setHeader('WWW-Authenticate', 'Basic realm="virtlens", charset="UTF-8"');
        return sendText(
          request,
          response,
          401,
          '401 unauthorized: a user of the web config and the password are needed\n',
        );
      }
    }
    return next(request, response);
  };
}

/** One bucket for all requests, a new one when the limit itself is changed. */
function createAdmission(clock: Clock): (limit: WebConfig['rateLimit']) => boolean {
  let limiter: RateLimiter | undefined;
  let key = '';
  return (limit) => {
    if (limit === undefined) return true;
    const now = `${limit.intervalMs} ${limit.burst}`;
    if (limiter === undefined || now !== key) limiter = createRateLimiter(limit.intervalMs, limit.burst);
    key = now;
    return limiter.admit(clock.monotonicMs());
  };
}
