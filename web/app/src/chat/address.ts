// The address: its `#` part names the room, so that a room can be linked to.
import { useSyncExternalStore } from "react";

export const LONGEST_NAME = 30;
export const LONGEST_ROOM = 50;

/** A name as the server will have it: trimmed, and cut to so many characters. */
export function clean(name: string, longest: number): string {
  return [...name.trim().normalize("NFC")].slice(0, longest).join("");
}

/** The room that the `#` part of an address names; "" when it names none. */
export function roomOf(hash: string): string {
  try {
    return clean(decodeURIComponent(hash.slice(1)), LONGEST_ROOM);
  } catch {
    return clean(hash.slice(1), LONGEST_ROOM); // a lone % was typed by hand
  }
}

export const hrefOf = (room: string): string => `#${encodeURIComponent(room)}`;

function watch(changed: () => void): () => void {
  addEventListener("hashchange", changed);
  return () => removeEventListener("hashchange", changed);
}

/** The room that the address names. */
export function useAddress(): string {
  return useSyncExternalStore(watch, () => roomOf(location.hash));
}
