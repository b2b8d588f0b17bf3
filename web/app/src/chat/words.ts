// How times, names and the connection are put into words.
import type { Connection } from "@hubbub/react";

const MOST_NAMES = 3;
const RESTART = 1012;
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "medium" });
const date = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const FINAL: Record<number, string> = {
  1000: "The server ended the connection",
  1001: "The server is going away",
  4400: "The server does not understand this page",
  4403: "You were removed",
};

export const timeOf = (timestamp: number): string => clock.format(timestamp);
export const fullTimeOf = (timestamp: number): string => full.format(timestamp);

export function dayOf(timestamp: number, now: number): string {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (timestamp >= midnight) return "Today";
  if (timestamp >= new Date(midnight - 1).setHours(0, 0, 0, 0)) return "Yesterday";
  return date.format(timestamp);
}

export function typingLine(names: readonly string[]): string {
  if (names.length > MOST_NAMES) return "Several people are typing…";
  if (names.length > 1) return `${names.slice(0, -1).join(", ")} and ${names.at(-1)} are typing…`;
  return names.length ? `${names[0]} is typing…` : "";
}

export function seenLine(names: readonly string[]): string {
  const more = names.length > MOST_NAMES ? ` +${names.length - MOST_NAMES}` : "";
  return names.length ? `Seen by ${names.slice(0, MOST_NAMES).join(", ")}${more}` : "";
}

/**
 * What there is to say of the connection.
 *
 * joined: we are in the room that is shown.
 * had: there has been a connection before.
 */
export function connectionLine(connection: Connection, joined: boolean, had: boolean): string {
  const { status, code = 0, reason } = connection;
  const because = reason ? `: ${reason}` : "";
  if (status === "connected") return joined ? "Connected" : "Joining…";
  if (status === "resuming") return "Joining…";
  if (status === "offline") return "You are offline";
  if (status === "closed") {
    if (code === 4409) return "This chat went on in another tab";
    return code ? (FINAL[code] ?? "The connection has ended") + because : "Connecting…";
  }
  if (status === "connecting" && !code) return "Connecting…";
  if (code === RESTART) return "The server restarts";
  return had ? `Connection lost${code === 1006 ? "" : because}` : "No connection";
}
