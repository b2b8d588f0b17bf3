// What the dashboard says of a value.
import { describe, expect, test } from "vitest";
import { severityOf, written } from "../src/dashboard/metrics.ts";

describe("severity", () => {
  const threshold = { warning: 70, critical: 90 };

  test.each([
    [0, "ok"],
    [69.9, "ok"],
    [70, "warning"],
    [89.9, "warning"],
    [90, "critical"],
    [100, "critical"],
  ])("%d is %s: a value that is as high as a threshold has reached it", (value, severity) => {
    expect(severityOf(value, threshold)).toBe(severity);
  });

  test("a value without a threshold is neither good nor bad, and one that is not there as well", () => {
    expect([severityOf(1, undefined), severityOf(undefined, threshold)]).toEqual([undefined, undefined]);
  });
});

describe("a value as it is written", () => {
  test.each([
    [0.414, "avgResponseTime", "0.41\u202fms"],
    [98.76, "cpuUsage", "98.8\u202f%"],
    [12345.6, "requestsPerSecond", "12,346\u202f/s"],
    [7, "activeUsers", "7"],
    [undefined, "errorRate", "–"],
  ] as const)("%s of %s is %s", (value, metric, text) => {
    expect(written(value, metric)).toBe(text);
  });
});
