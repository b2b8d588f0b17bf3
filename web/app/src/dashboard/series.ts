// The seconds that were measured, and how a range of them is drawn: each second has its place, also one that is missing.
import type { Metric, Values } from "./metrics.ts";

/** One second; `time` is unix time in whole seconds. */
export interface Second {
  readonly time: number;
  readonly values: Values;
}

/** The ranges that can be looked at, in seconds. */
export const RANGES = [
  { seconds: 60, label: "60 s" },
  { seconds: 600, label: "10 min" },
  { seconds: 3600, label: "1 h" },
] as const;

export const LONGEST = 3600;

/** What a chart draws: a value for each second of a range, null where none was measured. */
export interface Columns {
  readonly times: number[];
  readonly values: (number | null)[];
}

/** Seconds without a value, both ends included. */
export interface Gap {
  readonly from: number;
  readonly to: number;
}

export interface Summary {
  readonly lowest: number;
  readonly mean: number;
  readonly highest: number;
}

/** Seconds in order, each once, for as long as they may be looked at. */
export class Series {
  readonly #seconds: Second[] = [];

  get last(): Second | undefined {
    return this.#seconds.at(-1);
  }

  get first(): Second | undefined {
    return this.#seconds[0];
  }

  /** Takes a second; one that is here already changes nothing. What led up to `heldAt` is kept as well. */
  add(second: Second, heldAt = second.time): void {
    const index = this.#behind(second.time);
    if (this.#seconds[index - 1]?.time === second.time) return;
    this.#seconds.splice(index, 0, second);
    const oldest = Math.min(second.time, heldAt) - LONGEST;
    const excess = this.#behind(oldest - 1);
    if (excess) this.#seconds.splice(0, excess);
  }

  /** The values of a second. */
  at(time: number): Values | undefined {
    const found = this.#seconds[this.#behind(time) - 1];
    return found?.time === time ? found.values : undefined;
  }

  /** The latest second up to a time. */
  upTo(time: number): Second | undefined {
    return this.#seconds[this.#behind(time) - 1];
  }

  /** One value of each second of a range that ends with `to`. */
  columns(metric: Metric, to: number, range: number): Columns {
    const from = to - range + 1;
    const times = Array.from({ length: range }, (_, index) => from + index);
    const values: (number | null)[] = times.map(() => null);
    for (let index = this.#behind(from - 1); index < this.#seconds.length; index++) {
      const { time, values: all } = this.#seconds[index] as Second;
      if (time > to) break;
      values[time - from] = all[metric];
    }
    return { times, values };
  }

  /** How many seconds are at or before a time. */
  #behind(time: number): number {
    let [low, high] = [0, this.#seconds.length];
    if (!high || time >= (this.#seconds[high - 1] as Second).time) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#seconds[middle] as Second).time <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Where values are missing, behind the first one: what was before it is not known to be missing. */
export function gapsIn({ times, values }: Columns): Gap[] {
  const gaps: Gap[] = [];
  let from: number | undefined;
  const first = values.findIndex((value) => value !== null);
  for (let index = first; first >= 0 && index <= values.length; index++) {
    const missing = index < values.length && values[index] === null;
    if (missing) from ??= times[index];
    else if (from !== undefined) {
      gaps.push({ from, to: times[index - 1] as number });
      from = undefined;
    }
  }
  return gaps;
}

/** The lowest, the mean and the highest of the values that are there. */
export function summaryOf({ values }: Columns): Summary | undefined {
  const known = values.filter((value) => value !== null);
  if (!known.length) return undefined;
  let [lowest, highest, sum] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
  for (const value of known) {
    lowest = Math.min(lowest, value);
    highest = Math.max(highest, value);
    sum += value;
  }
  return { lowest, mean: sum / known.length, highest };
}
