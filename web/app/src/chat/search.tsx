// Search over the room's history: what is loaded, and all that is older when it is wanted.
import type { RoomView } from "@hubbub/react";
import { type KeyboardEvent, useEffect, useEffectEvent, useMemo, useState } from "react";
import { found, type Line } from "./lines.ts";
import { fullTimeOf } from "./words.ts";

/** Matches that are listed. */
const MOST = 100;
/** Events of a page, and how long the next one is waited for: the server takes no more of them in a second. */
const PAGE = 200;
const PAGE_MS = 250;

interface SearchProps {
  words: string;
  setWords(words: string): void;
  lines: readonly Line[];
  room: RoomView;
  /** Brings a line into view. */
  show(key: string): void;
  close(): void;
}

/** Loads one page after the other, up to the beginning, for as long as it is wanted. */
function useAll({ hasOlder, loadingOlder, loadOlder }: RoomView): [boolean, (wanted: boolean) => void] {
  const [wanted, setWanted] = useState(false);
  const loads = wanted && hasOlder;
  const load = useEffectEvent(() => void loadOlder(PAGE).catch(() => setWanted(false)));
  useEffect(() => {
    if (!loads || loadingOlder) return;
    const timer = setTimeout(load, PAGE_MS);
    return () => clearTimeout(timer);
  }, [loads, loadingOlder]);
  return [loads, setWanted];
}

/** What was found, in how much. */
function summary(matches: number, messages: number, all: boolean): string {
  return `${matches || "Nothing"} found in ${all ? "all" : "the last"} ${messages} messages`;
}

export function Search({ words, setWords, lines, room, show, close }: SearchProps) {
  const [loads, setWanted] = useAll(room);
  const matches = useMemo(() => found(lines, words), [lines, words]);
  const messages = useMemo(() => lines.filter(({ kind }) => kind === "message").length, [lines]);
  const press = (event: KeyboardEvent) => event.key === "Escape" && close();
  return (
    <search onKeyDown={press}>
      <input
        type="search"
        aria-label="Search this room"
        placeholder="Search this room"
        value={words}
        // biome-ignore lint/a11y/noAutofocus: whoever opened it writes here
        autoFocus
        onChange={({ target }) => setWords(target.value)}
      />
      <p className="soft" aria-live="polite">
        {words.trim() && summary(matches.length, messages, !room.hasOlder)}
      </p>
      {room.hasOlder && (
        <button type="button" className="small" onClick={() => setWanted(!loads)}>
          {loads ? "Stop" : "Search older"}
        </button>
      )}
      {matches.length > 0 && (
        <ul>
          {matches.slice(0, MOST).map(({ key, event, text }) => (
            <li key={key}>
              <button type="button" onClick={() => show(key)}>
                <span className="by">
                  <bdi>{event.username}</bdi> <time>{fullTimeOf(event.timestamp)}</time>
                </span>
                <span className="text" dir="auto">
                  {text}
                </span>
              </button>
            </li>
          ))}
        </ul>
      )}
    </search>
  );
}
