// The seconds of a range: each has its place, and what is missing is seen to be missing.
import { describe, expect, test } from "vitest";
import { gapsIn, LONGEST, Series, summaryOf } from "../src/dashboard/series.ts";

const values = (cpuUsage: number) => ({
  activeUsers: 1,
  requestsPerSecond: 0,
  avgResponseTime: 0,
  errorRate: 0,
  cpuUsage,
  memoryUsage: 0,
});

/** Seconds whose CPU is ten times their time. */
function seriesOf(...times: number[]): Series {
  const series = new Series();
  for (const time of times) series.add({ time, values: values(10 * time) });
  return series;
}

describe("a range", () => {
  test("has a place for each second, also where there is no value", () => {
    expect(seriesOf(1, 2, 5).columns("cpuUsage", 6, 5)).toEqual({
      times: [2, 3, 4, 5, 6],
      values: [20, null, null, 50, null],
    });
  });

  test("holds nothing of what came behind its end", () => {
    expect(seriesOf(1, 2, 3).columns("cpuUsage", 2, 2).values).toEqual([10, 20]);
  });

  test("of nothing is empty", () => {
    const columns = seriesOf().columns("cpuUsage", 3, 2);
    expect(columns.values).toEqual([null, null]);
    expect([gapsIn(columns), summaryOf(columns)]).toEqual([[], undefined]);
  });
});

describe("a series", () => {
  test("has each second once, and in order, however they come", () => {
    const series = seriesOf(3, 1, 2, 3, 1);
    expect(series.columns("cpuUsage", 3, 3).values).toEqual([10, 20, 30]);
    expect([series.first?.time, series.last?.time]).toEqual([1, 3]);
  });

  test("forgets what nobody can look at any more", () => {
    expect(seriesOf(1, 2, LONGEST + 2).first?.time).toBe(2);
  });

  test("forgets nothing of a range that is held", () => {
    const series = seriesOf(1, 2);
    series.add({ time: LONGEST + 2, values: values(0) }, 2);
    expect(series.first?.time).toBe(1);
  });

  test("knows the latest second up to a time", () => {
    const series = seriesOf(2, 5);
    expect([1, 2, 4, 5, 9].map((time) => series.upTo(time)?.time)).toEqual([undefined, 2, 2, 5, 5]);
  });
});

describe("a gap", () => {
  test("is where seconds are missing, and at the end as well", () => {
    expect(gapsIn(seriesOf(1, 2, 5, 6).columns("cpuUsage", 8, 8))).toEqual([
      { from: 3, to: 4 },
      { from: 7, to: 8 },
    ]);
  });

  test("is not what was before the first second that is known", () => {
    expect(gapsIn(seriesOf(5, 6).columns("cpuUsage", 6, 6))).toEqual([]);
  });

  test("is no value in what is the lowest, the mean and the highest", () => {
    expect(summaryOf(seriesOf(1, 3).columns("cpuUsage", 3, 3))).toEqual({ lowest: 10, mean: 20, highest: 30 });
  });
});
