// The values of a second: what they are called, how they are written, and how bad they are. Pure.

/** The values of one second, as the server measures them. */
export interface Values {
  readonly activeUsers: number;
  readonly requestsPerSecond: number;
  readonly avgResponseTime: number;
  readonly errorRate: number;
  readonly cpuUsage: number;
  readonly memoryUsage: number;
}

export type Metric = keyof Values;

/** From where on a value is a warning, and from where on it is critical. */
export interface Threshold {
  readonly warning: number;
  readonly critical: number;
}

/** Those of the values that have one; the server sets the first ones. */
export type Thresholds = Partial<Record<Metric, Threshold>>;

export type Severity = "ok" | "warning" | "critical";

interface Description {
  readonly metric: Metric;
  readonly label: string;
  readonly unit: string;
  /** What it is, for whoever does not know. */
  readonly meaning: string;
}

export const METRICS: readonly Description[] = [
  { metric: "activeUsers", label: "Active users", unit: "", meaning: "open connections" },
  { metric: "requestsPerSecond", label: "Requests", unit: "/s", meaning: "messages and HTTP requests" },
  { metric: "avgResponseTime", label: "Response time", unit: "ms", meaning: "mean until a handler ended" },
  { metric: "errorRate", label: "Errors", unit: "%", meaning: "of what was handled" },
  { metric: "cpuUsage", label: "CPU", unit: "%", meaning: "of one core, which a node can use" },
  { metric: "memoryUsage", label: "Memory", unit: "%", meaning: "of the machine's, by whomever" },
];

export const descriptionOf = (metric: Metric): Description =>
  METRICS.find((one) => one.metric === metric) as Description;

/** The metrics that the server takes thresholds for. */
export const WITH_THRESHOLD: readonly Metric[] = ["avgResponseTime", "errorRate", "cpuUsage", "memoryUsage"];

/** How bad a value is; undefined where nothing says so, or where there is no value. */
export function severityOf(value: number | undefined, threshold: Threshold | undefined): Severity | undefined {
  if (value === undefined || !threshold) return undefined;
  return value >= threshold.critical ? "critical" : value >= threshold.warning ? "warning" : "ok";
}

/** A number with the digits that matter: 12,345 or 98.7 or 0.41. */
export function digits(value: number): string {
  const size = Math.abs(value);
  const most = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : 2;
  return value.toLocaleString("en-GB", { maximumFractionDigits: most });
}

/** A value with its unit; a dash where there is none. */
export function written(value: number | undefined, metric: Metric): string {
  if (value === undefined) return "–";
  const { unit } = descriptionOf(metric);
  return unit === "" ? digits(value) : `${digits(value)}\u202f${unit}`;
}
