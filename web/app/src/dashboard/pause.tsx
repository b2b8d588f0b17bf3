// Holds the charts of everybody who looks, and says who did.
import { useConnection } from "@hubbub/react";
import { useState } from "react";
import type { Board, Feed } from "./feed.ts";
import { timeOf } from "./time.ts";

export function PauseControl({ feed, board: { pause, known } }: { feed: Feed; board: Board }) {
  const { status } = useConnection();
  const [problem, setProblem] = useState("");
  const set = () => {
    setProblem("");
    feed.setPause(!pause).catch((error: Error) => setProblem(error.message));
  };
  return (
    <div className="pause">
      <p role="status">
        {pause ? `Held for everybody at ${timeOf(pause.time)}${pause.by ? ` by ${pause.by}` : ""}` : ""}
      </p>
      {problem && <p role="alert">{problem}</p>}
      <button type="button" onClick={set} disabled={!known || status !== "connected"}>
        {pause ? "Go on" : "Pause"}
      </button>
    </div>
  );
}
