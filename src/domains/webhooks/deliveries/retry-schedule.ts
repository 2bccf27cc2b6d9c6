/** Delays in seconds: ten attempts over some 45 hours. */
export const defaultDelaysSeconds: readonly number[] = [5, 30, 120, 600, 1800, 7200, 21_600, 43_200, 86_400];

/** What a receiver refuses for a reason of its own is tried less often: it will hardly change its mind. */
const refusedAttemptsMax = 4;
const longestDelaySeconds = 86_400;
/** A year, beyond which nobody means it. */
const longestWaitSeconds = 31_536_000;

export interface RetryRule {
  /** After the first attempt. */
  readonly maxRetries: number;
  /** The first delay, which doubles then; undefined for the schedule of the installation. */
  readonly firstDelaySeconds: number | undefined;
  readonly schedule: readonly number[];
}

/** What an attempt met, as far as it decides about the next one. */
export interface AttemptOutcome {
  /** Undefined when there was no answer. */
  readonly status: number | undefined;
  /** What the receiver asked for. */
  readonly retryAfterSeconds: number | undefined;
}

/**
 * Seconds until the next attempt, or undefined when there is none. Each delay is uniform between its half and itself, and
 * never below what the receiver asked for.
 * @param attempts that were made, this one included.
 * @param random from 0 to before 1.
 */
export function nextDelaySeconds(
  { status, retryAfterSeconds }: AttemptOutcome,
  attempts: number,
  { maxRetries, firstDelaySeconds, schedule }: RetryRule,
  random: number,
): number | undefined {
  if (status === 410 || attempts > maxRetries) return undefined;
  if (isRefusal(status) && attempts >= refusedAttemptsMax) return undefined;
  const delay =
    firstDelaySeconds === undefined
      ? (schedule[attempts - 1] ?? schedule.at(-1)!)
      : Math.min(firstDelaySeconds * 2 ** (attempts - 1), longestDelaySeconds);
  const jittered = delay / 2 + (delay / 2) * random;
  return Math.max(jittered, retryAfterSeconds ?? 0);
}

/** 4xx, but for those that tell of a moment: time-outs, too early, too many. */
function isRefusal(status: number | undefined): boolean {
  return status !== undefined && status >= 400 && status < 500 && ![408, 425, 429].includes(status);
}

/** Seconds that `Retry-After` asks for (RFC 9110, 10.2.3), from its text; undefined for none. Its dates have three forms, all in GMT (5.6.7). */
export function readRetryAfter(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return Math.min(Number(text), longestWaitSeconds);
  const at = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text)
    ? Date.parse(`${text.replace(/ GMT$/, '')} GMT`)
    : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.min(Math.max(0, Math.ceil((at - nowMs) / 1000)), longestWaitSeconds);
}
