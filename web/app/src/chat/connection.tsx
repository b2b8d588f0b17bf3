// How the connection stands, in words, with the time until the next try.
import { useConnection } from "@hubbub/react";
import { useEffect, useReducer, useState } from "react";
import { connectionLine } from "./words.ts";

/** Whether there was a connection before the try that failed last. */
function useHad(status: string): boolean {
  const there = status === "connected" || status === "resuming";
  const [last, setLast] = useState({ status, had: there });
  if (last.status === status) return last.had;
  const failed = last.status === "connecting" && (status === "waiting" || status === "offline");
  const had = there || (last.had && !failed);
  setLast({ status, had });
  return had;
}

/** Seconds until a time, as they go by. */
function useSeconds(until: number | undefined): number {
  const [, tick] = useReducer((ticks: number) => ticks + 1, 0);
  const left = until === undefined ? 0 : Math.max(until - Date.now(), 0);
  useEffect(() => {
    if (until === undefined) return;
    const timer = setTimeout(tick, Math.max(until - Date.now(), 0) % 1000 || 1000);
    return () => clearTimeout(timer);
  });
  return Math.ceil(left / 1000);
}

/** joined: we are in the room that is shown. */
export function ConnectionState({ joined }: { joined: boolean }) {
  const connection = useConnection();
  const { status, code, retryAt, open } = connection;
  const had = useHad(status);
  const seconds = useSeconds(retryAt);
  const waits = status === "waiting" || status === "offline";
  const acts = waits || (status === "closed" && code !== undefined);
  return (
    <div className={`connection ${status}`}>
      <span className="dot" aria-hidden="true" />
      <span role="status">{connectionLine(connection, joined, had)}</span>
      {waits && <span className="countdown">{`Next try in ${seconds} s`}</span>}
      {acts && (
        <button type="button" className="small" onClick={open}>
          {code === 4409 ? "Continue here" : "Try now"}
        </button>
      )}
    </div>
  );
}
