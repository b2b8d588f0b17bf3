// The log: only the lines near those in view are drawn, and older ones are loaded when one scrolls up to them.
import type { RoomView } from "@hubbub/react";
import { type Ref, useEffect, useImperativeHandle, useLayoutEffect, useRef, useState } from "react";
import { Virtualizer, type VirtualizerHandle } from "virtua";
import { Arrow } from "./icons.tsx";
import { LineView } from "./line.tsx";
import type { Line } from "./lines.ts";
import type { Own } from "./memory.ts";

/** Who has scrolled further up reads, and is not pulled down. */
const NEAR_END_PIXELS = 60;
/** Older lines are loaded before one is quite there. */
const NEAR_START_PIXELS = 400;
/** How long a line that was searched for stands out. */
const SHOWN_MS = 2000;

export interface LogHandle {
  /** Brings a line into view. */
  show(key: string): void;
}

interface LogProps {
  ref: Ref<LogHandle>;
  lines: readonly Line[];
  room: RoomView;
  username: string;
  own: Own;
  seenKey: string | undefined;
  seen: readonly string[];
  seenLine: string;
}

/** Whether lines were put before the first one: then the end holds its place, and else the start. */
function usePrepended(lines: readonly Line[]): boolean {
  const first = lines.find(({ kind }) => kind === "message")?.key;
  const [known, setKnown] = useState({ first, lines, prepended: false });
  if (known.lines === lines) return known.prepended;
  const prepended = first !== known.first && known.first !== undefined && lines.some(({ key }) => key === known.first);
  setKnown({ first, lines, prepended });
  return prepended;
}

function toEnd(element: HTMLElement | null): void {
  if (element) element.scrollTop = element.scrollHeight;
}

export function Log({ ref, lines, room, username, own, seenKey, seen, seenLine }: LogProps) {
  const { status, hasOlder, loadingOlder, loadOlder } = room;
  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<VirtualizerHandle>(null);
  const atEnd = useRef(true);
  const [away, setAway] = useState(false);
  const [shown, setShown] = useState("");
  const prepended = usePrepended(lines);

  const look = () => {
    const element = scroller.current;
    if (!element) return;
    atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END_PIXELS;
    setAway(!atEnd.current);
    const near = element.scrollTop < NEAR_START_PIXELS;
    if (near && hasOlder && !loadingOlder && status === "entered") loadOlder().catch(() => {});
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: whatever changes the lines may push the end out of view
  useLayoutEffect(() => {
    if (atEnd.current) toEnd(scroller.current);
  }, [lines, seenLine]);
  useEffect(() => {
    const keep = () => atEnd.current && toEnd(scroller.current);
    const observer = new ResizeObserver(keep); // a phone's keyboard opens, or lines turn out to be higher
    const element = scroller.current as HTMLDivElement;
    observer.observe(element);
    observer.observe(element.firstElementChild as Element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (!shown) return;
    const timer = setTimeout(() => setShown(""), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [shown]);
  useImperativeHandle(ref, () => ({
    show(key) {
      atEnd.current = false;
      list.current?.scrollToIndex(
        lines.findIndex((line) => line.key === key),
        { align: "center" },
      );
      setShown(key);
    },
  }));

  const tools = { room, username, own };
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
        <Virtualizer ref={list} data={lines} shift={prepended} bufferSize={600}>
          {(line) => (
            <div key={line.key} className={line.key === shown ? "row shown" : "row"}>
              <LineView line={line} tools={tools} />
              {line.key === seenKey && seenLine && (
                <p className="seen" title={seen.join(", ")}>
                  {seenLine}
                </p>
              )}
            </div>
          )}
        </Virtualizer>
      </div>
      {!lines.length && status === "entered" && <p className="empty">Nothing was said here yet.</p>}
      {away && (
        <button
          type="button"
          className="down"
          aria-label="To the newest message"
          onClick={() => {
            atEnd.current = true;
            toEnd(scroller.current);
          }}
        >
          <Arrow />
        </button>
      )}
    </div>
  );
}
