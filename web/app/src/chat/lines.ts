// A room's log as lines to be shown: days, messages with what became of them, comings and goings. Pure.
import type { LogEvent, Outgoing } from "@hubbub/react";

/** Messages of one person that follow each other sooner stand together. */
const TOGETHER_MS = 5 * 60_000;

declare module "@hubbub/react" {
  interface AppEvents {
    edited: { username: string; of: number; text: string; timestamp: number; seq: number };
    deleted: { username: string; of: number; timestamp: number; seq: number };
  }
}

export type Said = Extract<LogEvent, { type: "message" }>;

export interface DayLine {
  readonly kind: "day";
  readonly key: string;
  readonly timestamp: number;
}

export interface MessageLine {
  readonly kind: "message";
  readonly key: string;
  readonly event: Said;
  readonly text: string;
  readonly own: boolean;
  readonly edited: boolean;
  readonly deleted: boolean;
  /** It follows one of the same person. */
  readonly follows: boolean;
}

export interface OutgoingLine {
  readonly kind: "outgoing";
  readonly key: string;
  readonly outgoing: Outgoing;
}

export interface NoticeLine {
  readonly kind: "notice";
  readonly key: string;
  readonly text: string;
  readonly timestamp?: number;
}

export interface BeginningLine {
  readonly kind: "beginning";
  readonly key: string;
  readonly text: string;
}

export type Line = BeginningLine | DayLine | MessageLine | OutgoingLine | NoticeLine;

/** Something that is told of and is not in the log; it stands behind the event of the key `after`. */
export interface Notice {
  readonly after: string;
  readonly number: number;
  readonly text: string;
  readonly timestamp: number;
}

/** Tells of something in a room behind an event. */
export type Note = (room: string, after: string, text: string, timestamp: number) => void;

export const keyOf = ({ epoch, seq }: { epoch: string; seq: number }): string => `${epoch}.${seq}`;

/** The events in which messages were edited or deleted last, by the messages' keys. */
function changesOf(events: readonly LogEvent[]): Map<string, LogEvent> {
  const changes = new Map<string, LogEvent>();
  for (const event of events) {
    if (event.type !== "edited" && event.type !== "deleted") continue;
    const key = keyOf({ epoch: event.epoch, seq: event.of });
    if (changes.get(key)?.type !== "deleted") changes.set(key, event);
  }
  return changes;
}

/** Says of one time after the other whether it is of another day than the one before, where the reader is. */
function newDays(): (timestamp: number) => boolean {
  let [begin, end] = [0, 0]; // a Date for each of thousands of messages would be felt
  return (timestamp) => {
    if (begin <= timestamp && timestamp < end) return false;
    begin = new Date(timestamp).setHours(0, 0, 0, 0);
    end = new Date(begin).setDate(new Date(begin).getDate() + 1);
    return true;
  };
}

export function linesOf(
  events: readonly LogEvent[],
  notices: readonly Notice[],
  outgoing: readonly Outgoing[],
  isOwn: (event: Said) => boolean,
): Line[] {
  const changes = changesOf(events);
  const lines: Line[] = [];
  const isNewDay = newDays();
  let before: Said | undefined;
  const told = new Map<string, Notice[]>(); // those behind an event that is not here any more are not told again
  for (const notice of notices) told.set(notice.after, [...(told.get(notice.after) ?? []), notice]);
  const tell = (after: string) => {
    for (const { number, text, timestamp } of told.get(after) ?? []) {
      lines.push({ kind: "notice", key: `notice.${number}`, text, timestamp });
      before = undefined;
    }
  };
  tell("");
  for (const event of events) {
    const key = keyOf(event);
    if (event.type === "gap") {
      lines.push({ kind: "notice", key: `gap.${key}`, text: "Some messages may be missing here" });
      before = undefined;
    } else if (event.type === "message") {
      if (isNewDay(event.timestamp)) {
        lines.push({ kind: "day", key: `day.${key}`, timestamp: event.timestamp });
        before = undefined;
      }
      const change = changes.get(key);
      lines.push({
        kind: "message",
        key,
        event,
        text: change?.type === "edited" ? change.text : event.text,
        own: isOwn(event),
        edited: change?.type === "edited",
        deleted: change?.type === "deleted",
        follows: before?.username === event.username && event.timestamp - before.timestamp < TOGETHER_MS,
      });
      before = event;
    }
    tell(key);
  }
  for (const one of outgoing) lines.push({ kind: "outgoing", key: `outgoing.${one.messageId}`, outgoing: one });
  return lines;
}

/** How many of the last so many events are messages, and not what became of older ones, as far as it is known here. */
export function messagesIn(events: readonly LogEvent[], count: number): number {
  if (!count) return 0;
  const from = (events.at(-1)?.seq ?? 0) - count;
  const changes = events
    .slice(-count)
    .filter(({ type, seq }) => seq > from && (type === "edited" || type === "deleted"));
  return count - changes.length;
}

/** What stands above the first line once nothing older can be had. */
export function beginningOf(room: string, first: LogEvent | undefined): BeginningLine {
  const text = first && first.seq > 1 ? "What was said before is no longer kept" : `Here ${room} begins`;
  return { kind: "beginning", key: "beginning", text };
}

/** The lines with one's own messages. */
export function ownOf(lines: readonly Line[]): MessageLine[] {
  return lines.filter((line): line is MessageLine => line.kind === "message" && line.own);
}

/**
 * Who has read how far: names by the keys of one's own messages, each name at the last one that it has read.
 *
 * readers: the greatest number that each has read, in the epoch.
 */
export function seenBy(
  own: readonly MessageLine[],
  epoch: string | undefined,
  readers: ReadonlyMap<string, number>,
): Map<string, string[]> {
  const seen = new Map<string, string[]>();
  const names = [...readers].sort(([one], [other]) => one.localeCompare(other));
  for (const [name, seq] of names) {
    const last = own.findLast(({ event }) => event.epoch === epoch && event.seq <= seq);
    if (last) seen.set(last.key, [...(seen.get(last.key) ?? []), name]);
  }
  return seen;
}

/** Which of the lines hold what is searched for, the newest first. */
export function found(lines: readonly Line[], words: string): MessageLine[] {
  const wanted = words.trim().toLowerCase();
  if (!wanted) return [];
  const matches = lines.filter(
    (line): line is MessageLine =>
      line.kind === "message" &&
      !line.deleted &&
      (line.text.toLowerCase().includes(wanted) || line.event.username.toLowerCase().includes(wanted)),
  );
  return matches.reverse();
}
