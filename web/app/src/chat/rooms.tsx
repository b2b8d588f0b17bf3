// The rooms that one is in, with what is unread in them, and those that were visited before.
import type { Position } from "@hubbub/client";
import { type Outgoing, useEvent, useRoom } from "@hubbub/react";
import { type FormEvent, useEffect, useEffectEvent, useRef, useState, useSyncExternalStore } from "react";
import { clean, hrefOf, LONGEST_ROOM } from "./address.ts";
import { Bell, Cross } from "./icons.tsx";
import { keyOf, messagesIn, type Note } from "./lines.ts";
import { load, loadOutgoing, loadRooms, type Own, saveOutgoing, saveRooms, withRoom } from "./memory.ts";
import { mayNotify, notify, useNotifying } from "./notifications.ts";

interface RoomsProps {
  own: Own;
  name: string;
  rooms: readonly string[];
  room: string;
  leave(room: string): void;
  refuse(room: string, why: string): void;
  tell(room: string, unread: number): void;
  note: Note;
}

function watchStorage(changed: () => void): () => void {
  addEventListener("storage", changed);
  return () => removeEventListener("storage", changed);
}

/** Rooms that any tab of this browser has visited. */
function useVisited(): string[] {
  useSyncExternalStore(watchStorage, () => load("browser", "rooms")); // one's own tab is drawn anyway when it goes elsewhere
  return loadRooms("browser");
}

export function Rooms({ own, name, rooms, room, leave, refuse, tell, note }: RoomsProps) {
  const others = useVisited().filter((visited) => !rooms.includes(visited));
  const go = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const wanted = clean(String(new FormData(form).get("room")), LONGEST_ROOM);
    form.reset();
    if (wanted) location.hash = hrefOf(wanted);
  };
  return (
    <nav aria-labelledby="rooms-title">
      <h2 id="rooms-title">Rooms</h2>
      <ul className="rooms">
        {rooms.map((each) => (
          <Seat
            key={each}
            own={own}
            name={name}
            room={each}
            current={each === room}
            leave={leave}
            refuse={refuse}
            tell={tell}
            note={note}
          />
        ))}
        {others.map((each) => (
          <li key={each} className="visited">
            <a href={hrefOf(each)} dir="auto">
              {each}
            </a>
          </li>
        ))}
      </ul>
      <form className="go" onSubmit={go}>
        <input
          name="room"
          maxLength={LONGEST_ROOM}
          aria-label="Another room"
          placeholder="Other room"
          required
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
        />
        <button type="submit">Go</button>
      </form>
      <NotifyButton />
    </nav>
  );
}

interface SeatProps extends Pick<RoomsProps, "own" | "name" | "leave" | "refuse" | "tell" | "note"> {
  room: string;
  current: boolean;
}

/** Keeps what is on its way, once it has changed: before that, what an earlier page has kept is not on its way yet. */
function useSaved(room: string, outgoing: readonly Outgoing[]): void {
  const saved = useRef(outgoing);
  useEffect(() => {
    if (saved.current !== outgoing) saveOutgoing(room, outgoing);
    saved.current = outgoing;
  }, [room, outgoing]);
}

/** One is in a room for as long as this is in the list. */
function Seat({ own, name, room, current, leave, refuse, tell, note }: SeatProps) {
  const [kept] = useState(() => loadOutgoing(room));
  const { unread: behind, status, error, events, outgoing } = useRoom(room, { username: name, outgoing: kept });
  const unread = messagesIn(events, behind);
  useSaved(room, outgoing);
  useEffect(() => {
    if (status === "entered") saveRooms("browser", withRoom(loadRooms("browser"), room));
  }, [status, room]);
  const why = status === "refused" ? (error?.message ?? "It cannot be entered") : "";
  const refused = useEffectEvent(() => refuse(room, why));
  useEffect(() => {
    if (why) refused();
  }, [why]);
  useEffect(() => {
    tell(room, unread);
    return () => tell(room, 0);
  }, [tell, room, unread]);
  const tellOf = (text: string, timestamp: number) => {
    const last = events.at(-1);
    note(room, last ? keyOf(last) : "", text, timestamp);
  };
  useEvent("user_joined", ({ username, timestamp }) => tellOf(`${username} joined`, timestamp), room);
  useEvent("user_left", ({ username, timestamp }) => tellOf(`${username} left`, timestamp), room);
  useEvent("error", ({ message }) => current && tellOf(message, Date.now()));
  useEvent("message", ({ messageId, seq }) => own.came(messageId, seq), room);
  useTold(room, name);
  return (
    <li className={unread ? "unread" : ""}>
      <a href={hrefOf(room)} aria-current={current ? "page" : undefined}>
        <bdi>{room}</bdi>
        {unread > 0 && (
          <span className="badge">
            {unread > 999 ? "999+" : unread}
            <span className="hidden"> unread</span>
          </span>
        )}
      </a>
      <button type="button" className="bare" aria-label={`Leave ${room}`} onClick={() => leave(room)}>
        <Cross />
      </button>
    </li>
  );
}

/** Tells of what others say from now on; what was said before one came in is no news. */
function useTold(room: string, name: string): void {
  const before = useRef<Position>(undefined);
  const enter = ({ epoch, head }: { epoch: string; head: number }) => {
    if (before.current?.epoch !== epoch) before.current = { epoch, seq: before.current ? 0 : head };
  };
  useEvent("room_info", enter, room);
  useEvent(
    "message",
    ({ username, text, seq }) => {
      if (username !== name && seq > (before.current?.seq ?? 0)) notify(room, username, text);
    },
    room,
  );
}

function NotifyButton() {
  const [permission, ask] = useNotifying();
  if (!mayNotify || permission !== "default") return null;
  return (
    <button type="button" className="small notify" onClick={ask}>
      <Bell />
      Notify me
    </button>
  );
}
