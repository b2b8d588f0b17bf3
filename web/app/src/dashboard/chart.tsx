// One value over a range: its chart, what it says in words, and the second that the reader looks at.
import { type KeyboardEvent, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { descriptionOf, type Metric, type Threshold, written } from "./metrics.ts";
import { type Look, type Picture, Plot } from "./plot.ts";
import { gapsIn, RANGES, type Series, summaryOf } from "./series.ts";
import { timeOf } from "./time.ts";

interface Props {
  series: Series;
  metric: Metric;
  range: number;
  setRange(seconds: number): void;
  /** The second that it ends with; undefined before anything has come. */
  end: number | undefined;
  threshold: Threshold | undefined;
  /** Whose values they are, where that is to be said. */
  of: string | undefined;
  /** Whether only what came since the page was opened is there. */
  partial: boolean;
}

const NOT_MEASURED = "not measured";
const present = () => Math.floor(Date.now() / 1000);

export function Chart({ series, metric, range, setRange, end = present(), threshold, of, partial }: Props) {
  const latest = series.last?.time;
  const first = series.first?.time;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the series is the same object when seconds have come
  const picture = useMemo<Picture>(() => {
    const columns = series.columns(metric, end, range);
    return { columns, gaps: gapsIn(columns), threshold };
  }, [series, latest, first, metric, end, range, threshold]);
  const { columns, gaps } = picture;
  const summary = summaryOf(columns);
  const missing = gaps.reduce((sum, { from, to }) => sum + to - from + 1, 0);
  const { label } = descriptionOf(metric);
  return (
    <section aria-labelledby="chart" className="panel">
      <header>
        <h2 id="chart">
          {label}
          {of && <small>{of}</small>}
        </h2>
        <fieldset className="ranges">
          <legend className="unseen">Range</legend>
          {RANGES.map(({ seconds, label: text }) => (
            <label key={seconds}>
              <input
                type="radio"
                name="range"
                checked={seconds === range}
                onChange={() => setRange(seconds)}
                className="unseen"
              />
              <span>{text}</span>
            </label>
          ))}
        </fieldset>
      </header>
      <Canvas picture={picture} metric={metric} label={label} />
      <p className="summary" data-missing={missing}>
        {summary
          ? `Lowest ${written(summary.lowest, metric)}, mean ${written(summary.mean, metric)}, highest ${written(summary.highest, metric)}.`
          : "Nothing was measured in this range."}
        {missing > 0 && ` ${missing} s were ${NOT_MEASURED}.`}
        {partial && " Of one node, what came since this page was opened."}
      </p>
    </section>
  );
}

/** The chart, with a cursor that the mouse moves, or the arrow keys. */
function Canvas({ picture, metric, label }: { picture: Picture; metric: Metric; label: string }) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot>(undefined);
  const [look, setLook] = useState<Look>();
  const scheme = useSyncExternalStore(watchScheme, schemeNow);
  // biome-ignore lint/correctness/useExhaustiveDependencies: each scheme has its colours, and a picture is shown below
  useEffect(() => {
    const made = new Plot(host.current as HTMLDivElement, metric, picture, setLook);
    plot.current = made;
    return () => made.destroy();
  }, [metric, scheme]);
  useEffect(() => plot.current?.show(picture), [picture]);
  const { times, values } = picture.columns;
  const last = times.length - 1;
  const index = Math.min(look?.index ?? last, last);
  const value = values[index];
  const text = value === null || value === undefined ? NOT_MEASURED : written(value, metric);
  const time = timeOf(times[index] as number);
  const step = (event: KeyboardEvent) => {
    const to = stepped(event.key, index, last);
    if (to === undefined) return;
    event.preventDefault();
    plot.current?.look(to);
  };
  return (
    <div
      className="chart"
      role="slider"
      tabIndex={0}
      aria-label={`${label} over time`}
      aria-valuemin={-last}
      aria-valuemax={0}
      aria-valuenow={index - last}
      aria-valuetext={`${time}: ${text}`}
      onKeyDown={step}
      onBlur={() => plot.current?.look(undefined)}
    >
      <div ref={host} className="canvas" />
      {look && (
        <div
          className="tooltip"
          style={{ translate: `${Math.min(Math.max(look.left - 60, 0), look.width - 120)}px 0` }}
        >
          <strong>{text}</strong>
          <span>{time}</span>
        </div>
      )}
    </div>
  );
}

/** Where a key leads, as sliders have it. */
function stepped(key: string, index: number, last: number): number | undefined {
  const far = Math.ceil(last / 10);
  const steps: Record<string, number> = {
    ArrowLeft: index - 1,
    ArrowDown: index - 1,
    ArrowRight: index + 1,
    ArrowUp: index + 1,
    PageDown: index - far,
    PageUp: index + far,
    Home: 0,
    End: last,
  };
  const to = steps[key];
  return to === undefined ? undefined : Math.min(Math.max(to, 0), last);
}

const SCHEME = matchMedia("(prefers-color-scheme: dark)");
const schemeNow = () => (SCHEME.matches ? "dark" : "light");
const watchScheme = (watcher: () => void) => {
  SCHEME.addEventListener("change", watcher);
  return () => SCHEME.removeEventListener("change", watcher);
};
