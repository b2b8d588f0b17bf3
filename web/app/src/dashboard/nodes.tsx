// The nodes that there are, each with its own values; one of them can be looked at alone.
import type { Node } from "./feed.ts";
import { METRICS, severityOf, type Thresholds, written } from "./metrics.ts";

interface Props {
  nodes: readonly Node[];
  end: number | undefined;
  thresholds: Thresholds;
  chosen: string | undefined;
  choose(id: string | undefined): void;
}

export function Nodes({ nodes, end, thresholds, chosen, choose }: Props) {
  return (
    <section aria-labelledby="nodes" className="panel">
      <header>
        <h2 id="nodes">Nodes</h2>
        <button type="button" onClick={() => choose(undefined)} disabled={chosen === undefined}>
          Show all together
        </button>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached with the keyboard */}
      <section className="wide" aria-label="Values of each node" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Node</th>
              {METRICS.map(({ metric, label }) => (
                <th scope="col" key={metric}>
                  {label}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {nodes.map(({ id, host, pid, series }) => {
              const values = (end === undefined ? undefined : series.upTo(end))?.values ?? series.last?.values;
              return (
                <tr key={id}>
                  <th scope="row">
                    <button type="button" aria-pressed={id === chosen} onClick={() => choose(id)}>
                      {host} <small>{pid}</small>
                    </button>
                  </th>
                  {METRICS.map(({ metric }) => (
                    <td key={metric} data-severity={severityOf(values?.[metric], thresholds[metric])}>
                      {written(values?.[metric], metric)}
                    </td>
                  ))}
                </tr>
              );
            })}
          </tbody>
        </table>
      </section>
    </section>
  );
}
