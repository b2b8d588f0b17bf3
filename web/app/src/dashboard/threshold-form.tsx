// From where on values are a warning or critical: for everybody who looks, as soon as one sets it.
import { useConnection } from "@hubbub/react";
import { type FormEvent, useState } from "react";
import type { Feed } from "./feed.ts";
import { descriptionOf, type Metric, type Threshold, type Thresholds, WITH_THRESHOLD } from "./metrics.ts";

export function ThresholdForm({ feed, thresholds }: { feed: Feed; thresholds: Thresholds }) {
  return (
    <section aria-labelledby="thresholds" className="panel">
      <header>
        <h2 id="thresholds">Thresholds</h2>
        <p>They hold for everybody who looks.</p>
      </header>
      <div className="thresholds">
        {WITH_THRESHOLD.map((metric) => {
          const threshold = thresholds[metric];
          // What others set takes the place of what stands here.
          const key = `${metric} ${threshold?.warning} ${threshold?.critical}`;
          return <Row key={key} feed={feed} metric={metric} threshold={threshold} />;
        })}
      </div>
    </section>
  );
}

function Row({ feed, metric, threshold }: { feed: Feed; metric: Metric; threshold: Threshold | undefined }) {
  const { status } = useConnection();
  const [problem, setProblem] = useState("");
  const { label, unit } = descriptionOf(metric);
  const set = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const asked = { warning: Number(given.get("warning")), critical: Number(given.get("critical")) };
    setProblem("");
    feed.setThreshold(metric, asked).catch((error: Error) => setProblem(error.message));
  };
  return (
    <form onSubmit={set}>
      <fieldset disabled={status !== "connected" || !threshold}>
        <legend>
          {label} <small>{unit}</small>
        </legend>
        {(["warning", "critical"] as const).map((level) => (
          <label key={level}>
            {level === "warning" ? "Warning" : "Critical"}
            <input
              name={level}
              type="number"
              min="0"
              max="1000000000"
              step="any"
              required
              defaultValue={threshold?.[level]}
            />
          </label>
        ))}
        <button type="submit" aria-label={`Set the thresholds of ${label}`}>
          Set
        </button>
      </fieldset>
      {problem && <p role="alert">{problem}</p>}
    </form>
  );
}
