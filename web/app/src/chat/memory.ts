// What outlives the page: a tab's name, session, rooms, drafts and messages; a browser's name and visited rooms.

/** Visited rooms that are remembered. */
const MOST_ROOMS = 12;
/** Messages that are known as one's own. */
const MOST_OWN = 2000;

type Place = "tab" | "browser";

export function load(place: Place, key: string): string {
  try {
    return storage(place).getItem(`hubbub.${key}`) ?? "";
  } catch {
    return ""; // it is switched off
  }
}

export function save(place: Place, key: string, value: string): void {
  try {
    if (value) storage(place).setItem(`hubbub.${key}`, value);
    else storage(place).removeItem(`hubbub.${key}`);
  } catch {
    // it is switched off, or full: the page works without
  }
}

function storage(place: Place): Storage {
  return place === "tab" ? sessionStorage : localStorage;
}

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

  has(messageId: string, seq: number): boolean {
    const known = this.#seqs.get(messageId);
    return known === 0 || known === seq;
  }
}
