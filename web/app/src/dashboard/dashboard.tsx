// The dashboard: how the connection stands, the values of now, and one of them as a chart.
import { useEffect, useReducer, useState, useSyncExternalStore } from "react";
import { useSignInAsked } from "../sign-in.tsx";
import { Cards } from "./cards.tsx";
import { Chart } from "./chart.tsx";
import { Entrance } from "./entrance.tsx";
import type { Board, Feed } from "./feed.ts";
import type { Metric, Values } from "./metrics.ts";
import { Nodes } from "./nodes.tsx";
import { PauseControl } from "./pause.tsx";
import { RANGES } from "./series.ts";
import { StatusLine } from "./status.tsx";
import { ThresholdForm } from "./threshold-form.tsx";

/** How old the newest second may be before its values are not those of now. */
const FRESH_SECONDS = 3;

export function Dashboard({ feed }: { feed: Feed }) {
  const board = useSyncExternalStore(feed.watch, feed.get);
  const signInAsked = useSignInAsked();
  useTick();
  const shut = signInAsked || board.refusal !== undefined;
  return (
    <>
      <header className="bar">
        <h1>Dashboard</h1>
        <StatusLine />
        {!shut && <PauseControl feed={feed} board={board} />}
      </header>
      {shut ? <Entrance refusal={board.refusal} /> : <Panels feed={feed} board={board} />}
    </>
  );
}

function Panels({ feed, board }: { feed: Feed; board: Board }) {
  const [metric, setMetric] = useState<Metric>("requestsPerSecond");
  const [range, setRange] = useState<number>(RANGES[0].seconds);
  const [chosen, setChosen] = useState<string>();
  const node = board.nodes.find(({ id }) => id === chosen);
  const series = node?.series ?? board.series;
  const end = feed.end();
  const now = end === undefined ? undefined : series.upTo(end);
  const late = end === undefined || !now ? 0 : end - now.time;
  const values: Values | undefined = late > FRESH_SECONDS ? undefined : now?.values;
  return (
    <main>
      <Cards values={values} thresholds={board.thresholds} chosen={metric} choose={setMetric} />
      <Chart
        series={series}
        metric={metric}
        range={range}
        setRange={setRange}
        end={end}
        threshold={board.thresholds[metric]}
        of={node ? `${node.host}, process ${node.pid}` : board.nodes.length > 1 ? "all nodes" : undefined}
        partial={node !== undefined}
      />
      <Nodes nodes={board.nodes} end={end} thresholds={board.thresholds} chosen={node?.id} choose={setChosen} />
      <ThresholdForm feed={feed} thresholds={board.thresholds} />
    </main>
  );
}

/** Draws each second, also where nothing comes: then the gap grows. */
function useTick(): void {
  const [, tick] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const timer = setInterval(tick, 1000);
    return () => clearInterval(timer);
  }, []);
}
