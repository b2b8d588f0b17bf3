// The room that is looked at: its head, its log, who types, and where one writes.
import { useClient, useConnection, useEvent, useRoom } from "@hubbub/react";
import { useEffect, useMemo, useRef, useState } from "react";
import { Composer } from "./composer.tsx";
import { ConnectionState } from "./connection.tsx";
import { Lens } from "./icons.tsx";
import { linesOf, type MessageLine, type Notice } from "./lines.ts";
import { Log, type LogHandle } from "./log.tsx";
import type { Own } from "./memory.ts";
import { Search } from "./search.tsx";
import { seenLine, typingLine } from "./words.ts";

type Readers = ReadonlyMap<string, number>;

function withSeen(readers: Readers, seen: { username: string; seq: number }[]): Readers {
  const after = new Map(readers);
  // Those who only listen have no name.
  for (const { username, seq } of seen) if (username) after.set(username, Math.max(seq, after.get(username) ?? 0));
  return after;
}

/** How far the others have read: the greatest number by name. */
function useReaders(room: string, entered: boolean): Readers {
  const client = useClient();
  const [readers, setReaders] = useState<Readers>(new Map());
  useEvent("seen", (event) => setReaders((before) => withSeen(before, [event])), room);
  useEffect(() => {
    if (!entered) return;
    const asked = client.request({ type: "receipts", room });
    asked.then(({ readers }) => setReaders((before) => withSeen(before, readers as never))).catch(() => {}); // forbidden
  }, [client, room, entered]);
  return readers;
}

/** Whether somebody looks at the page. */
function useVisible(): boolean {
  const [visible, setVisible] = useState(!document.hidden);
  useEffect(() => {
    const look = () => setVisible(!document.hidden);
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);
  return visible;
}

/** What came last from somebody else, to be read out. */
function useAloud(room: string, name: string): string {
  const [said, setSaid] = useState("");
  useEvent("message", ({ username, text }) => username !== name && setSaid(`${username}: ${text}`), room);
  return said;
}

export interface PaneProps {
  room: string;
  name: string;
  own: Own;
  notices: readonly Notice[];
}

export function RoomPane({ room: name, name: username, own, notices }: PaneProps) {
  const room = useRoom(name, { username });
  const { status } = useConnection();
  const entered = status === "connected" && room.status === "entered";
  const readers = useReaders(name, entered);
  const visible = useVisible();
  const aloud = useAloud(name, username);
  const [search, setSearch] = useState<string>();
  const log = useRef<LogHandle>(null);
  const { events, outgoing, ack } = room;
  const lines = useMemo(
    () => linesOf(events, notices, outgoing, (messageId, seq) => own.has(messageId, seq)),
    [events, notices, outgoing, own],
  );
  const last = events.at(-1)?.seq;
  useEffect(() => {
    if (visible && entered && last) ack(last);
  }, [visible, entered, last, ack]);
  const latest = lines.findLast((line): line is MessageLine => line.kind === "message" && line.own);
  const seen = [...readers].filter(([other, seq]) => other !== username && latest && seq >= latest.event.seq);
  const names = seen.map(([other]) => other);
  const typing = typingLine(room.typing);
  return (
    <>
      <header>
        <h1>
          <bdi>{name}</bdi>
        </h1>
        <ConnectionState joined={room.status === "entered"} />
        <button
          type="button"
          className="small"
          aria-label="Search"
          aria-expanded={search !== undefined}
          onClick={() => setSearch(search === undefined ? "" : undefined)}
        >
          <Lens />
        </button>
      </header>
      <main>
        {search !== undefined && (
          <Search
            words={search}
            setWords={setSearch}
            lines={lines}
            room={room}
            show={(key) => log.current?.show(key)}
            close={() => setSearch(undefined)}
          />
        )}
        <Log
          ref={log}
          lines={lines}
          room={room}
          username={username}
          own={own}
          seenKey={latest?.key}
          seen={names}
          seenLine={seenLine(names)}
        />
        <p className="hidden" aria-live="polite">
          {aloud}
        </p>
        <p className="typing">
          {typing}
          {typing && <span className="dots" aria-hidden="true" />}
        </p>
        <Composer room={room} own={own} />
      </main>
    </>
  );
}
