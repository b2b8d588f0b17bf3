// Search over what is loaded of the room's history.
import type { RoomView } from "@hubbub/react";
import type { KeyboardEvent } from "react";
import { found, type Line } from "./lines.ts";
import { fullTimeOf } from "./words.ts";

/** Matches that are listed. */
const MOST = 100;

interface SearchProps {
  words: string;
  setWords(words: string): void;
  lines: readonly Line[];
  room: RoomView;
  /** Brings a line into view. */
  show(key: string): void;
  close(): void;
}

export function Search({ words, setWords, lines, room, show, close }: SearchProps) {
  const matches = found(lines, words);
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
        {words.trim() ? `${matches.length} found in what is loaded` : ""}
      </p>
      {room.hasOlder && (
        <button type="button" className="small" disabled={room.loadingOlder} onClick={() => room.loadOlder(200)}>
          Load older
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
