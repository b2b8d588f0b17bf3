// The page of somebody who is in rooms: the rooms at the side, and the one that is looked at.
import { useCallback, useEffect, useState } from "react";
import { Bars, Cross } from "./icons.tsx";
import type { Note, Notice } from "./lines.ts";
import { Members } from "./members.tsx";
import { Own } from "./memory.ts";
import { RoomPane } from "./pane.tsx";
import { Rooms } from "./rooms.tsx";

export interface DeskProps {
  name: string;
  rooms: readonly string[];
  /** The one that is looked at. */
  room: string;
  leave(room: string): void;
  leaveAll(): void;
  refuse(room: string, why: string): void;
  /** Which room could not be entered, and why; empty where there is none. */
  refused: string;
  /** For whoever has signed in. */
  signOut?: (() => void) | undefined;
}

/** Comings and goings that are remembered of a room. */
const MOST_NOTICES = 200;
const NONE: readonly Notice[] = [];

/** Comings, goings and refusals since one is here, by room; they are in no log. */
function useNotices(): [Record<string, readonly Notice[]>, Note] {
  const [notices, setNotices] = useState<Record<string, readonly Notice[]>>({});
  const note = useCallback<Note>(
    (room, after, text, timestamp) =>
      setNotices((all) => {
        const before = all[room] ?? NONE;
        const notice = { after, number: (before.at(-1)?.number ?? 0) + 1, text, timestamp };
        return { ...all, [room]: [...before, notice].slice(-MOST_NOTICES) };
      }),
    [],
  );
  return [notices, note];
}

/** How many messages wait in the title, and which room is looked at. */
function useTitle(room: string, unread: number): void {
  useEffect(() => {
    document.title = `${unread ? `(${unread}) ` : ""}${room} · Hubbub`;
  }, [room, unread]);
}

export function Desk({ name, rooms, room, leave, leaveAll, refuse, refused, signOut }: DeskProps) {
  const [own] = useState(() => new Own());
  const [unread, setUnread] = useState<Record<string, number>>({});
  const [open, setOpen] = useState(false);
  const [notices, note] = useNotices();
  const tell = useCallback((of: string, count: number) => setUnread((before) => ({ ...before, [of]: count })), []);
  useTitle(
    room,
    rooms.reduce((sum, each) => sum + (unread[each] ?? 0), 0),
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: who goes to a room wants to see it
  useEffect(() => setOpen(false), [room]);
  return (
    <div className="desk">
      <button
        type="button"
        className="menu small"
        aria-expanded={open}
        aria-controls="side"
        aria-label={open ? "Close rooms and members" : "Rooms and members"}
        onClick={() => setOpen(!open)}
      >
        {open ? <Cross /> : <Bars />}
      </button>
      <aside id="side" className={open ? "open" : ""} aria-label="Rooms and members">
        <Rooms own={own} name={name} rooms={rooms} room={room} leave={leave} refuse={refuse} tell={tell} note={note} />
        <p className="refusal" role="alert">
          {refused}
        </p>
        <Members key={room} room={room} name={name} />
        <div className="ends">
          <button type="button" className="small" onClick={leaveAll}>
            Leave
          </button>
          {signOut && (
            <button type="button" className="small" onClick={signOut}>
              Sign out
            </button>
          )}
        </div>
      </aside>
      <RoomPane key={room} room={room} name={name} own={own} notices={notices[room] ?? NONE} />
    </div>
  );
}
