// How the connection stands: a dot and its words, and the next try where there is none.
import type { State, Status } from "@hubbub/client";
import { useClient, useConnection } from "@hubbub/react";

type Dot = "connected" | "connecting" | "disconnected";

const DOTS: Record<Status, Dot> = {
  connected: "connected",
  connecting: "connecting",
  resuming: "connecting",
  waiting: "disconnected",
  offline: "disconnected",
  closed: "disconnected",
};

const WORDS: Record<Status, string> = {
  connected: "Connected",
  connecting: "Connecting…",
  resuming: "Connecting…",
  waiting: "Disconnected",
  offline: "No network",
  closed: "Closed",
};

const WAYS: Record<State["transport"], string> = { websocket: "", stream: " over SSE", poll: " by polling" };

export function StatusLine() {
  const { status, transport, retryAt, reason, open } = useConnection();
  const now = useClient().clock.now();
  const seconds = retryAt === undefined ? undefined : Math.max(Math.ceil((retryAt - now) / 1000), 0);
  const away = status === "waiting" || status === "offline" || status === "closed";
  return (
    <div className="status">
      <span className="dot" data-status={DOTS[status]} aria-hidden="true" />
      <p role="status">
        {WORDS[status]}
        {status === "connected" && WAYS[transport]}
        {status === "closed" && reason ? `: ${reason}` : ""}
      </p>
      {status === "waiting" && seconds !== undefined && <span className="countdown">next try in {seconds} s</span>}
      {away && (
        <button type="button" onClick={open}>
          Try now
        </button>
      )}
    </div>
  );
}
