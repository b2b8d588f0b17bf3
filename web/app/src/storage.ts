// What pages keep in the browser: for the tab, or for all tabs. They work without.

/** Before all keys: the host may have pages of others. */
const PREFIX = "hubbub.";

export type Place = "tab" | "browser";

export function load(place: Place, key: string): string {
  try {
    return storage(place).getItem(PREFIX + key) ?? "";
  } catch {
    return ""; // it is switched off
  }
}

export function save(place: Place, key: string, value: string): void {
  try {
    if (value) storage(place).setItem(PREFIX + key, value);
    else storage(place).removeItem(PREFIX + key);
  } catch {
    // it is switched off, or full
  }
}

/** The keys that begin so. */
export function keysOf(place: Place, start: string): string[] {
  try {
    const keys = Object.keys(storage(place)).filter((key) => key.startsWith(PREFIX + start));
    return keys.map((key) => key.slice(PREFIX.length));
  } catch {
    return [];
  }
}

function storage(place: Place): Storage {
  return place === "tab" ? sessionStorage : localStorage;
}
