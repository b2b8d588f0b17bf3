// The six values of now; the one that is chosen is drawn.
import { METRICS, type Metric, severityOf, type Thresholds, type Values, written } from "./metrics.ts";

const WORDS = { ok: "OK", warning: "Warning", critical: "Critical" } as const;

interface Props {
  values: Values | undefined;
  thresholds: Thresholds;
  chosen: Metric;
  choose(metric: Metric): void;
}

export function Cards({ values, thresholds, chosen, choose }: Props) {
  return (
    <section aria-label="Values" className="cards">
      {METRICS.map(({ metric, label, meaning }) => {
        const value = values?.[metric];
        const severity = severityOf(value, thresholds[metric]);
        return (
          <button
            type="button"
            key={metric}
            className="card"
            data-metric={metric}
            data-severity={severity}
            aria-pressed={metric === chosen}
            onClick={() => choose(metric)}
          >
            <span className="label">{label}</span>
            <span className="severity">{severity ? WORDS[severity] : ""}</span>
            <span className="value">{written(value, metric)}</span>
            <span className="meaning">{meaning}</span>
          </button>
        );
      })}
    </section>
  );
}
