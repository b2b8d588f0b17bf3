// The log: only the lines near those in view are drawn, and older ones are loaded when one scrolls up to them.
import { type RoomView, useConnection } from "@hubbub/react";
import {
  type ReactNode,
  type Ref,
  useEffect,
  useEffectEvent,
  useImperativeHandle,
  useLayoutEffect,
  useRef,
  useState,
} from "react";
import { Virtualizer, type VirtualizerHandle } from "virtua";
import { Arrow } from "./icons.tsx";
import { type Changing, LineView } from "./line.tsx";
import type { Line } from "./lines.ts";
import type { Own } from "./memory.ts";
import { Place } from "./place.ts";
import { seenLine } from "./words.ts";

/** Who has scrolled further up reads, and is not pulled down. */
const NEAR_END_PIXELS = 60;
/** Older lines are loaded before one is quite there. */
const NEAR_START_PIXELS = 400;
/** How long a line that was searched for stands out. */
const SHOWN_MS = 2000;

export interface LogHandle {
  /** Brings a line into view; `marked`, it stands out for a while. */
  show(key: string, marked: boolean): void;
}

interface LogProps {
  ref: Ref<LogHandle>;
  lines: readonly Line[];
  room: RoomView;
  username: string;
  own: Own;
  changing: Changing;
  /** Names by the keys of lines. */
  seen: ReadonlyMap<string, readonly string[]>;
  /** Called with whether one is where the log ends, whenever that changes. */
  onEnd(atEnd: boolean): void;
}

const firstOf = (lines: readonly Line[]) => lines.find(({ kind }) => kind === "message")?.key;

/** Whether lines were put before the first one, or taken from there: then the end holds its place, and else the start. */
function useShifted(lines: readonly Line[]): boolean {
  const first = firstOf(lines);
  const [known, setKnown] = useState({ first, lines, shifted: false });
  if (known.lines === lines) return known.shifted;
  const shifted = known.first !== undefined && first !== known.first;
  setKnown({ first, lines, shifted });
  return shifted;
}

/** Loads older events; after a failure not again before somebody wants it, or there is another connection. */
function useOlder({ status, hasOlder, loadingOlder, loadOlder }: RoomView) {
  const connection = useConnection().status;
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    if (connection === "connected") setFailed(false);
  }, [connection]);
  const may = hasOlder && !loadingOlder && status === "entered" && connection === "connected";
  const load = () => {
    setFailed(false);
    if (may) loadOlder().catch(() => setFailed(true));
  };
  return { failed, load, want: () => !failed && load() };
}

function toEnd(element: HTMLElement | null): void {
  if (element) element.scrollTop = element.scrollHeight;
}

/** Where one is in the log, and stays. */
function useReading(lines: readonly Line[], want: () => void) {
  const scroller = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const [place] = useState(() => new Place());
  /** The last line that was there when one scrolled away from it. */
  const [away, setAway] = useState<Line>();
  const sent = lines.at(-1)?.kind === "outgoing" ? lines.at(-1)?.key : undefined;

  const load = useEffectEvent(() => {
    const element = scroller.current;
    if (element && element.scrollTop < NEAR_START_PIXELS) want();
  });
  const look = () => {
    const element = scroller.current;
    if (!element) return;
    atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END_PIXELS;
    place.note(element);
    setAway((before) => (atEnd.current ? undefined : (before ?? lines.at(-1))));
    if (element.scrollTop < NEAR_START_PIXELS) want();
  };
  const goToEnd = () => {
    atEnd.current = true;
    toEnd(scroller.current);
  };
  const goElsewhere = () => {
    atEnd.current = false;
  };
  useLayoutEffect(() => {
    if (sent) atEnd.current = true; // who says something wants to see it
  }, [sent]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: whatever changes the lines may push the end out of view
  useLayoutEffect(() => {
    if (atEnd.current) toEnd(scroller.current);
  }, [lines]);
  useEffect(() => load()); // what was loaded may be too little to scroll in
  useEffect(() => {
    const element = scroller.current as HTMLDivElement;
    const list = element.firstElementChild as Element;
    const keep = () => (atEnd.current ? toEnd(element) : place.keep(element));
    const sizes = new ResizeObserver(keep); // a phone's keyboard opens, or lines turn out to be higher
    sizes.observe(element);
    sizes.observe(list);
    const places = new MutationObserver(keep); // at once: before it scrolls, of which `look` would think that one did
    places.observe(list, { attributes: true, attributeFilter: ["style"], childList: true, subtree: true });
    return () => {
      sizes.disconnect();
      places.disconnect();
    };
  }, [place]);
  return { scroller, away, look, goToEnd, goElsewhere };
}

/** The line that stands out. */
function useMarked(): [string, (key: string) => void] {
  const [marked, setMarked] = useState("");
  useEffect(() => {
    if (!marked) return;
    const timer = setTimeout(() => setMarked(""), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [marked]);
  return [marked, setMarked];
}

/** How many messages stand behind a line. */
function behind(lines: readonly Line[], line: Line): number {
  const index = lines.findLastIndex(({ key }) => key === line.key);
  return index < 0 ? 0 : lines.slice(index + 1).filter((each) => each.kind === "message" && !each.own).length;
}

export function Log({ ref, lines, room, username, own, changing, seen, onEnd }: LogProps) {
  const { status, loadingOlder } = room;
  const { failed, load, want } = useOlder(room);
  const { scroller, away, look, goToEnd, goElsewhere } = useReading(lines, want);
  const isAway = away !== undefined;
  useEffect(() => onEnd(!isAway), [onEnd, isAway]);
  const [marked, setMarked] = useMarked();
  const list = useRef<VirtualizerHandle>(null);
  const shifted = useShifted(lines);
  const edited = changing.key ? lines.findIndex(({ key }) => key === changing.key) : -1;
  useImperativeHandle(ref, () => ({
    show(key, mark) {
      goElsewhere();
      const index = lines.findIndex((line) => line.key === key);
      list.current?.scrollToIndex(index, { align: mark ? "center" : "nearest" });
      if (mark) setMarked(key);
    },
  }));
  const tools = { room, username, own, changing };
  return (
    <div className="logs">
      <div
        ref={scroller}
        className="log"
        role="log"
        aria-label="Messages"
        aria-live="off"
        aria-busy={loadingOlder}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: who has no mouse scrolls it with the keyboard
        tabIndex={0}
        onScroll={look}
      >
        <Virtualizer
          ref={list}
          data={lines}
          shift={shifted}
          bufferSize={600}
          {...(edited >= 0 && { keepMounted: [edited] })}
        >
          {(line) => (
            <div key={line.key} data-key={line.key} className={line.key === marked ? "row shown" : "row"}>
              <LineView line={line} tools={tools} />
              <SeenBy names={seen.get(line.key)} />
            </div>
          )}
        </Virtualizer>
      </div>
      <Above loading={loadingOlder} failed={failed} again={load} />
      {!lines.length && status === "entered" && <p className="empty">Nothing was said here yet.</p>}
      {away && <ToEnd count={behind(lines, away)} go={goToEnd} />}
    </div>
  );
}

function SeenBy({ names }: { names: readonly string[] | undefined }): ReactNode {
  if (!names) return null;
  return (
    <p className="seen" title={names.join(", ")}>
      {seenLine(names)}
    </p>
  );
}

function Above({ loading, failed, again }: { loading: boolean; failed: boolean; again(): void }): ReactNode {
  if (loading) return <p className="above">Loading older messages…</p>;
  if (!failed) return null;
  return (
    <p className="above" role="alert">
      Older messages could not be loaded.{" "}
      <button type="button" className="small" onClick={again}>
        Try again
      </button>
    </p>
  );
}

function ToEnd({ count, go }: { count: number; go(): void }) {
  return (
    <button type="button" className="down" onClick={go}>
      <span className="hidden">To the newest message </span>
      {count > 0 && <span className="new">{count > 99 ? "99+ new" : `${count} new`}</span>}
      <Arrow />
    </button>
  );
}
