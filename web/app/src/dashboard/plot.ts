// The chart itself, by uPlot: one line over time, its gaps and thresholds behind it. React knows nothing of it.
import uPlot from "uplot";
import { digits, type Metric, type Threshold } from "./metrics.ts";
import type { Columns, Gap } from "./series.ts";
import { tickOf } from "./time.ts";

export interface Picture {
  readonly columns: Columns;
  readonly gaps: readonly Gap[];
  readonly threshold: Threshold | undefined;
}

/** Where the reader looks; `left` and `top` are pixels of the plot's area, `width` is its width. */
export interface Look {
  readonly index: number;
  readonly left: number;
  readonly width: number;
}

const HEIGHT = 280;
/** Those that cannot be more: their charts show all of it. */
const PERCENT: ReadonlySet<Metric> = new Set(["cpuUsage", "memoryUsage"]);
/** A chart of nothing still has an axis. */
const LEAST_TOP = 1;

export class Plot {
  readonly #plot: uPlot;
  readonly #size: ResizeObserver;
  #picture: Picture;

  constructor(host: HTMLElement, metric: Metric, picture: Picture, looked: (look: Look | undefined) => void) {
    this.#picture = picture;
    const style = getComputedStyle(host);
    const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
    const axis: uPlot.Axis = {
      stroke: colour("muted"),
      font: `12px ${style.fontFamily}`,
      grid: { stroke: colour("grid"), width: 1 },
      ticks: { stroke: colour("grid"), width: 1, size: 4 },
    };
    const options: uPlot.Options = {
      width: host.clientWidth || 300,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 9, width: 2 } },
      scales: {
        x: { time: true, range: (_, from, to) => [from, to] },
        y: { range: (_, _low, high) => [0, PERCENT.has(metric) ? 100 : topOf(high)] },
      },
      axes: [
        { ...axis, space: 80, values: (_, splits, _axis, _space, step) => splits.map((time) => tickOf(time, step)) },
        { ...axis, size: 56, values: (_, splits) => splits.map(digits) },
      ],
      series: [{}, { stroke: colour("line"), fill: colour("area"), width: 2, spanGaps: false, points: { size: 5 } }],
      hooks: {
        drawClear: [(plot) => this.#drawGaps(plot, colour("gap"))],
        draw: [(plot) => this.#drawThresholds(plot, colour("warning"), colour("critical"))],
        setCursor: [
          ({ cursor: { idx, left = -1 }, over }) => {
            looked(idx == null || left < 0 ? undefined : { index: idx, left, width: over.clientWidth });
          },
        ],
      },
    };
    this.#plot = new uPlot(options, dataOf(picture), host);
    this.#size = new ResizeObserver(() => this.#plot.setSize({ width: host.clientWidth, height: HEIGHT }));
    this.#size.observe(host);
  }

  show(picture: Picture): void {
    this.#picture = picture;
    this.#plot.setData(dataOf(picture));
  }

  /** Puts the cursor on a second, or away. */
  look(index: number | undefined): void {
    const time = index === undefined ? undefined : this.#picture.columns.times[index];
    const left = time === undefined ? -10 : this.#plot.valToPos(time, "x");
    this.#plot.setCursor({ left, top: time === undefined ? -10 : this.#plot.over.clientHeight / 2 });
  }

  destroy(): void {
    this.#size.disconnect();
    this.#plot.destroy();
  }

  /** A band where nothing was measured. */
  #drawGaps({ ctx, bbox, valToPos }: uPlot, colour: string): void {
    ctx.save();
    ctx.fillStyle = colour;
    for (const { from, to } of this.#picture.gaps) {
      const left = Math.max(valToPos(from - 1, "x", true), bbox.left);
      const right = Math.min(valToPos(to + 1, "x", true), bbox.left + bbox.width);
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
    }
    ctx.restore();
  }

  #drawThresholds({ ctx, bbox, valToPos, scales }: uPlot, warning: string, critical: string): void {
    const { threshold } = this.#picture;
    if (!threshold) return;
    ctx.save();
    ctx.setLineDash([6, 4].map((length) => length * devicePixelRatio));
    ctx.lineWidth = devicePixelRatio;
    for (const [value, colour] of [
      [threshold.warning, warning],
      [threshold.critical, critical],
    ] as const) {
      if (value > (scales.y?.max ?? 0)) continue;
      const top = valToPos(value, "y", true);
      ctx.strokeStyle = colour;
      ctx.beginPath();
      ctx.moveTo(bbox.left, top);
      ctx.lineTo(bbox.left + bbox.width, top);
      ctx.stroke();
    }
    ctx.restore();
  }
}

const dataOf = ({ columns: { times, values } }: Picture): uPlot.AlignedData => [times, values];

/** Where the axis ends: a little above the highest value. */
const topOf = (high: number | null): number => Math.max((high ?? 0) * 1.15, LEAST_TOP);
