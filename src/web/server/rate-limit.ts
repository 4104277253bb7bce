/** A token bucket: `burst` requests at once, and one more each `intervalMs`. */
export interface RateLimiter {
  /** Whether a request may pass at this instant (monotonic milliseconds). */
  admit(nowMs: number): boolean;
}

export function createRateLimiter(intervalMs: number, burst: number): RateLimiter {
  let tokens = burst;
  let filledAtMs: number | undefined;
  return {
    admit(nowMs) {
      tokens = Math.min(burst, tokens + (nowMs - (filledAtMs ?? nowMs)) / intervalMs);
      filledAtMs = nowMs;
      if (tokens < 1) return false;
      tokens -= 1;
      return true;
    },
  };
}
