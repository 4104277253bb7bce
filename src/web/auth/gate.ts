import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import { RateLimiter } from '../limits/rate-limit.ts';
import { sendBusy, sendText } from '../route.ts';
import type { Handle } from '../router.ts';
import type { LiveConfig } from '../server/live-config.ts';
import type { WebConfig } from '../server/web-config.ts';
import { Authenticator, FAILURES_OF_CLIENT } from './basic-auth.ts';
import { BcryptThread } from './bcrypt-thread.ts';

/** What stands before the routes. */
export interface Gate {
  readonly handle: Handle;
  readonly close: () => void;
}

/**
 * Lets requests through to `next` as the web configuration says at this moment: its rate limit, its headers, its users; all paths
 * alike, the health checks too, as exporter-toolkit does it.
 */
export function createGate(live: LiveConfig, next: Handle, clock: Clock, logger: Logger): Gate {
  const thread = new BcryptThread(clock);
  const authenticator = new Authenticator((comparison) => thread.compare(comparison), clock);
  const admits = createAdmission(clock);
  /** By client. */
  const refusals = new Reported<string>();

  const handle: Handle = async (request, response, context) => {
    const { config } = live.current();
    if (!admits(config.rateLimit)) {
      response.setHeader('Retry-After', Math.ceil((config.rateLimit?.intervalMs ?? 0) / 1000));
      return sendText(request, response, 429, '429 too many requests: the rate limit of the web config is reached\n');
    }
    for (const [name, value] of config.headers) response.setHeader(name, value);
    if (config.users.size === 0) return next(request, response, context);

    const { client, signal } = context;
    const { authorization } = request.headers;
    const verdict = await authenticator.check(config.users, authorization, client, signal);
    // Without credentials is how a browser asks for the first time.
    if (verdict !== 'granted' && verdict !== 'gone' && authorization !== undefined) {
      if (refusals.note(client, verdict)) logger.warn('login refused', { client, reason: REASONS[verdict] });
    }
    switch (verdict) {
      case 'granted':
        refusals.clear(client);
        return next(request, response, context);
      case 'refused':
        response.setHeader('WWW-Authenticate', 'Basic realm="virtlens", charset="UTF-8"');
        return sendText(
          request,
          response,
          401,
          '401 unauthorized: a user of the web config and the password are needed\n',
        );
      case 'limited':
        response.setHeader('Retry-After', FAILURES_OF_CLIENT.intervalMs / 1000);
        return sendText(request, response, 429, `429 ${REASONS.limited}: try again later\n`);
      case 'busy':
        return sendBusy(request, response, REASONS.busy);
      case 'gone':
        return;
    }
  };
  return { handle, close: () => thread.close() };
}

const REASONS = {
  refused: 'wrong user or password',
  limited: 'too many failed logins',
  busy: 'too many passwords to check',
};

/** One bucket for all requests, a new one when the limit itself is changed. */
function createAdmission(clock: Clock): (limit: WebConfig['rateLimit']) => boolean {
  let limiter: RateLimiter | undefined;
  let key = '';
  return (limit) => {
    if (limit === undefined) return true;
    const now = `${limit.intervalMs} ${limit.burst}`;
    if (limiter === undefined || now !== key) limiter = new RateLimiter(limit.intervalMs, limit.burst);
    key = now;
    return limiter.admit(clock.monotonicMs());
  };
}
