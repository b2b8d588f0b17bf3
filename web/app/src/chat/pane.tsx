// The room that is looked at: its head, its log, who types, and where one writes.
import { type RoomView, useClient, useConnection, useEvent, useRoom } from "@hubbub/react";
import { type KeyboardEvent, type RefObject, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Composer } from "./composer.tsx";
import { ConnectionState } from "./connection.tsx";
import { Lens } from "./icons.tsx";
import type { Changing } from "./line.tsx";
import { beginningOf, linesOf, type MessageLine, type Notice, ownOf, type Said, seenBy } from "./lines.ts";
import { Log, type LogHandle } from "./log.tsx";
import type { Own } from "./memory.ts";
import { Search } from "./search.tsx";
import { typingLine } from "./words.ts";

/** How far the others have read: the greatest number by name, in an epoch. */
interface Readers {
  readonly epoch: string | undefined;
  readonly seqs: ReadonlyMap<string, number>;
}

type Reader = { username: string; seq: number };

function withSeen({ epoch, seqs }: Readers, seen: readonly Reader[]): Readers {
  const after = new Map(seqs);
  // Those who only listen have no name.
  for (const { username, seq } of seen) if (username) after.set(username, Math.max(seq, after.get(username) ?? 0));
  return { epoch, seqs: after };
}

/** epoch: that of what is here, where there is anything. */
function useReaders(room: string, epoch: string | undefined, entered: boolean): Readers {
  const client = useClient();
  const [readers, setReaders] = useState<Readers>({ epoch, seqs: new Map() });
  // Numbers of another epoch are of other messages.
  const moveTo = (to: { epoch: string }) =>
    setReaders((before) =>
      before.epoch === to.epoch ? before : { epoch: to.epoch, seqs: before.epoch ? new Map() : before.seqs },
    );
  useEvent("room_info", moveTo, room);
  useEvent("gap", moveTo, room);
  useEvent("seen", (event) => setReaders((before) => withSeen(before, [event])), room);
  useEffect(() => {
    if (!entered) return;
    const asked = client.request({ type: "receipts", room });
    asked.then(({ readers }) => setReaders((before) => withSeen(before, readers as Reader[]))).catch(() => {}); // forbidden
  }, [client, room, entered]);
  return { epoch: readers.epoch ?? epoch, seqs: readers.seqs };
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

/** Told apart, and not heard. */
const SILENT = "\u00a0";

/** What came last from somebody else, to be read out. */
function useAloud(room: string, name: string): string {
  const [said, setSaid] = useState("");
  // What is the same as before would not be read again.
  const say = (username: string, words: string) =>
    username !== name && setSaid((before) => `${username}${words}${before.endsWith(SILENT) ? "" : SILENT}`);
  useEvent("message", ({ username, text }) => say(username, `: ${text}`), room);
  useEvent("edited", ({ username, text }) => say(username, ` edited a message: ${text}`), room);
  useEvent("deleted", ({ username }) => say(username, " deleted a message"), room);
  return said;
}

/** Which message is being changed; when that ends, one is back where one writes. */
function useChanging(main: RefObject<HTMLElement | null>): Changing {
  const [{ key, how }, set] = useState<Pick<Changing, "key" | "how">>({ key: undefined, how: "edit" });
  const begin = useCallback<Changing["begin"]>((key, how) => set({ key, how }), []);
  const end = useCallback(() => {
    set({ key: undefined, how: "edit" });
    main.current?.querySelector<HTMLElement>(".composer textarea")?.focus();
  }, [main]);
  return { key, how, begin, end };
}

export interface PaneProps {
  room: string;
  name: string;
  own: Own;
  notices: readonly Notice[];
}

/** The room as lines; above the first one, where it begins. Who is signed in knows what was said in other tabs, too. */
function useLines({ name, status, events, outgoing, hasOlder }: RoomView, notices: readonly Notice[], own: Own) {
  const user = useConnection().user?.name;
  return useMemo(() => {
    const isOwn = ({ messageId, seq, username }: Said) => own.has(messageId, seq) || username === user;
    const lines = linesOf(events, notices, outgoing, isOwn);
    if (hasOlder || !events.length || status !== "entered") return lines;
    return [beginningOf(name, events[0]), ...lines];
  }, [name, status, events, notices, outgoing, hasOlder, own, user]);
}

/** Who has read how far of what one has said oneself. */
function useSeen(mine: readonly MessageLine[], username: string, { epoch, seqs }: Readers) {
  return useMemo(
    () => seenBy(mine, epoch, new Map([...seqs].filter(([other]) => other !== username))),
    [mine, epoch, seqs, username],
  );
}

/** Acknowledges what is in view: who has scrolled up has not read what came meanwhile. */
function useAcknowledged({ events, ack }: RoomView, entered: boolean): (atEnd: boolean) => void {
  const [atEnd, setAtEnd] = useState(true);
  const looked = useVisible() && atEnd;
  const last = events.at(-1)?.seq;
  useEffect(() => {
    if (looked && entered && last) ack(last);
  }, [looked, entered, last, ack]);
  return setAtEnd;
}

interface HeadProps {
  name: string;
  joined: boolean;
  searching: boolean;
  lens: RefObject<HTMLButtonElement | null>;
  toggle(): void;
}

function Head({ name, joined, searching, lens, toggle }: HeadProps) {
  return (
    <header>
      <h1>
        <bdi>{name}</bdi>
      </h1>
      <ConnectionState joined={joined} />
      <button ref={lens} type="button" className="small" aria-label="Search" aria-expanded={searching} onClick={toggle}>
        <Lens />
      </button>
    </header>
  );
}

export function RoomPane({ room: name, name: username, own, notices }: PaneProps) {
  const room = useRoom(name, { username });
  const { status } = useConnection();
  const entered = status === "connected" && room.status === "entered";
  const onEnd = useAcknowledged(room, entered);
  const aloud = useAloud(name, username);
  const [search, setSearch] = useState<string>();
  const log = useRef<LogHandle>(null);
  const main = useRef<HTMLElement>(null);
  const lens = useRef<HTMLButtonElement>(null);
  const changing = useChanging(main);
  const lines = useLines(room, notices, own);
  const mine = useMemo(() => ownOf(lines), [lines]);
  const seen = useSeen(mine, username, useReaders(name, room.events.at(-1)?.epoch, entered));
  /** The arrow up in an empty box goes on with what one said last. */
  const press = ({ key, target }: KeyboardEvent) => {
    const latest = mine.findLast(({ deleted }) => !deleted)?.key;
    const empty = target instanceof HTMLTextAreaElement && target.name !== "text" && !target.value;
    if (key !== "ArrowUp" || !empty || !latest) return;
    log.current?.show(latest, false);
    changing.begin(latest, "edit");
  };
  const closeSearch = () => {
    setSearch(undefined);
    lens.current?.focus();
  };
  const typing = typingLine(room.typing);
  return (
    <>
      <Head
        name={name}
        joined={room.status === "entered"}
        searching={search !== undefined}
        lens={lens}
        toggle={() => (search === undefined ? setSearch("") : closeSearch())}
      />
      <main ref={main} onKeyDown={press}>
        {search !== undefined && (
          <Search
            words={search}
            setWords={setSearch}
            lines={lines}
            room={room}
            show={(key) => log.current?.show(key, true)}
            close={closeSearch}
          />
        )}
        <Log
          ref={log}
          lines={lines}
          room={room}
          username={username}
          own={own}
          changing={changing}
          seen={seen}
          onEnd={onEnd}
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
