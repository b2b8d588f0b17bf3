// Whether and when to come back after a connection has ended. Pure: the random number is given.

const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 30_000;
const JITTER = 0.3;

/** The code of a connection that ended without a close frame. */
export const LOST = 1006;
export const RESTART = 1012;

/**
 * stop: do not come back.
 * backoff: come back, later with each try; long: after the longest delay.
 * after: come back when the close reason says.
 * token: come back at once with a new token.
 * forget: come back, and do not repeat what was on its way.
 */
export type Advice = "stop" | "backoff" | "long" | "after" | "token" | "forget";

const ADVICE: Record<number, Advice> = {
  1000: "stop",
  1001: "stop",
  1003: "forget",
  1007: "forget",
  1008: "long",
  1009: "forget",
  [RESTART]: "after",
  1013: "long",
  4400: "stop",
  4401: "token",
  4403: "stop",
  4409: "stop",
};

/** What a client should do after a close code; a test compares it with protocol/codes.json. */
export function adviceOn(code: number): Advice {
  return ADVICE[code] ?? "backoff";
}

/** Milliseconds before a try: 1 s doubling to 30 s, and up to 30 % more so that clients spread; random is 0 to 1. */
export function backoffMs(attempt: number, random: number): number {
  return Math.min(FIRST_DELAY_MS * 2 ** attempt, LONGEST_DELAY_MS) * (1 + JITTER * random);
}

/**
 * Milliseconds before the next try.
 *
 * attempt: how many tries there were since the last connection that held.
 */
export function delayMs(code: number, reason: string, attempt: number, random: number): number {
  const advice = adviceOn(code);
  const delay = backoffMs(advice === "long" ? Infinity : attempt, random);
  if (advice === "token" && !attempt) return 0;
  const after = advice === "after" && /^after=(\d{1,7})$/.exec(reason);
  // A restart that goes on for longer than it said is not asked for every half second.
  return after ? Math.max(Number(after[1]) * (1 + JITTER * random), attempt ? delay : 0) : delay;
}
