// What outlives the page: a tab's name, session, rooms, drafts and messages; a browser's name and visited rooms.
import { HubbubError } from "@hubbub/client";
import type { Outgoing } from "@hubbub/react";
import { keysOf, load, type Place, save } from "../storage.ts";

export { load, save };

/** Visited rooms that are remembered. */
const MOST_ROOMS = 12;
/** Messages that are known as one's own. */
const MOST_OWN = 2000;
const OUTGOING = "outgoing.";

/** A message on its way, as it is kept. */
type Kept = Omit<Outgoing, "error"> & { code?: string; message?: string };

/** Rooms in the order in which they were entered; a name holds no line break. */
export function loadRooms(place: Place): string[] {
  return load(place, "rooms").split("\n").filter(Boolean);
}

export function saveRooms(place: Place, rooms: readonly string[]): void {
  save(place, "rooms", rooms.slice(-MOST_ROOMS).join("\n"));
}

/** Rooms with one more. */
export function withRoom(rooms: readonly string[], room: string): readonly string[] {
  return rooms.includes(room) ? rooms : [...rooms, room].slice(-MOST_ROOMS);
}

/** Forgets whoever was here: nothing of it is for the next one. */
export function forget(): void {
  for (const place of ["tab", "browser"] as const) {
    for (const key of keysOf(place, "")) save(place, key, "");
  }
}

/** Messages that the server was not heard to have kept, in the order in which they were said. */
export function loadOutgoing(room: string): Outgoing[] {
  const kept: Kept[] = JSON.parse(load("tab", OUTGOING + room) || "[]");
  return kept.map(({ code, message = "", ...one }) =>
    code === undefined ? one : { ...one, error: new HubbubError(code, message) },
  );
}

export function saveOutgoing(room: string, outgoing: readonly Outgoing[]): void {
  const kept = outgoing.map(({ error, ...one }) =>
    error ? { ...one, code: error.code, message: error.message } : one,
  );
  save("tab", OUTGOING + room, kept.length ? JSON.stringify(kept) : "");
}

/** What was not sent is not sent by itself any more: it is there for whoever is back in the room. */
export function giveUp(room: string, why: string): void {
  const error = new HubbubError("left", why);
  saveOutgoing(
    room,
    loadOutgoing(room).map((one) => ({ error, ...one, state: "failed" })),
  );
}

export function giveUpAll(why: string): void {
  for (const key of keysOf("tab", OUTGOING)) giveUp(key.slice(OUTGOING.length), why);
}

/**
 * Which messages are our own: their numbers by their ids, 0 while unknown. Neither the name nor the id is enough:
 * another member may have our name, and may use our id once it has been seen.
 */
export class Own {
  readonly #seqs = new Map<string, number>(JSON.parse(load("tab", "own") || "[]"));

  add(messageId: string): void {
    if (!this.#seqs.has(messageId)) this.kept(messageId, 0);
  }

  kept(messageId: string, seq: number): void {
    this.#seqs.set(messageId, seq);
    save("tab", "own", JSON.stringify([...this.#seqs].slice(-MOST_OWN)));
  }

  /** A message has come; the first one of an id that is ours is ours. */
  came(messageId: string, seq: number): void {
    if (this.#seqs.get(messageId) === 0) this.kept(messageId, seq);
  }

  has(messageId: string, seq: number): boolean {
    const known = this.#seqs.get(messageId);
    return known === 0 || known === seq;
  }
}
