// What the server tells of the dashboard, as the page looks at it: the seconds, the nodes, the thresholds, the pause.
import type { AnyEvent, Client, RoomInfo } from "@hubbub/client";
import type { Ask } from "./api.ts";
import type { Metric, Threshold, Thresholds, Values } from "./metrics.ts";
import { LONGEST, Series } from "./series.ts";

const ROOM = "dashboard";
const STATE_ROOM = "dashboard-state";
/** A second is there up to two seconds late where a node is silent; only then it is missing. */
const LATE_SECONDS = 3;
/** Over HTTP each command names who gives it. */
const CALLER = "viewer";
/** The most events that come with a room over HTTP, where a time is no place to begin at: 16 minutes. */
const MOST_WITH_ROOM = 1000;
/** The most events in a page of those before. */
const MOST_WITH_PAGE = 200;

interface NodeValues {
  readonly node: string;
  readonly host: string;
  readonly pid: number;
  readonly data: Values;
}

/** The dashboard's events, as they come over the wire. */
export interface BoardEvents {
  metrics: { data: Values; timestamp: number };
  nodes: { nodes: NodeValues[]; timestamp: number };
  threshold: Threshold & { metric: Metric; by: string; timestamp: number };
  pause: { paused: boolean; by: string; timestamp: number };
}

/** A node as it was heard of last. */
export interface Node {
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  readonly series: Series;
}

/** Who holds the charts, and since when. */
export interface Pause {
  readonly by: string;
  /** Unix time in whole seconds. */
  readonly time: number;
}

/** A new object with each change. */
export interface Board {
  readonly series: Series;
  /** Those that were there in the last second. */
  readonly nodes: readonly Node[];
  readonly thresholds: Thresholds;
  readonly pause: Pause | undefined;
  /** Whether the state of the dashboard has come: before that nobody knows whether it is paused. */
  readonly known: boolean;
  /** Why the server does not show it to whoever asks. */
  readonly refusal: string | undefined;
}

const EMPTY = { nodes: [], thresholds: {}, pause: undefined, known: false, refusal: undefined };

interface Page {
  readonly messages: AnyEvent[];
  readonly next: string | null;
}

export class Feed {
  readonly client: Client<BoardEvents>;
  readonly #ask: Ask;
  readonly #watchers = new Set<() => void>();
  readonly #nodes = new Map<string, Node>();
  #board: Board = { series: new Series(), ...EMPTY };
  /** When the newest second came, by this page's clock. */
  #heardAt = 0;
  #told = false;

  constructor(client: Client<BoardEvents>, ask: Ask) {
    this.client = client;
    this.#ask = ask;
    client.on("metrics", (event) => this.#measured(event));
    client.on("nodes", (event) => this.#there(event));
    client.on("threshold", ({ metric, warning, critical }) => {
      this.#change({ thresholds: { ...this.#board.thresholds, [metric]: { warning, critical } } });
    });
    client.on("pause", ({ paused, by, timestamp }) => {
      const pause = paused ? this.#inForce({ by, time: Math.floor(timestamp / 1000) }) : undefined;
      this.#change({ pause, known: true });
    });
    client.on("room_info", (info) => this.#entered(info));
    // All that the server has: its clock may be behind, and what is too old it has forgotten.
    const log = client.subscribe(ROOM, { since: { time: 0 }, history: MOST_WITH_ROOM });
    const state = client.subscribe(STATE_ROOM);
    for (const { ready } of [log, state]) ready.catch(({ message }: Error) => this.#change({ refusal: message }));
  }

  get = (): Board => this.#board;

  watch = (watcher: () => void): (() => void) => {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  };

  /** The second that charts end with: the pause's, the newest one, or a later one where nothing has come for a while. */
  end(): number | undefined {
    const { pause, series } = this.#board;
    if (pause) return pause.time;
    if (!series.last) return undefined;
    const passed = Math.floor((this.client.clock.now() - this.#heardAt) / 1000);
    return series.last.time + (passed > LATE_SECONDS ? passed : 0);
  }

  /** Sets a threshold for everybody. */
  setThreshold(metric: Metric, { warning, critical }: Threshold): Promise<unknown> {
    return this.#command({ type: "threshold", metric, warning, critical });
  }

  /** Holds the charts for everybody, or lets them go on. */
  setPause(paused: boolean): Promise<unknown> {
    return this.#command({ type: "pause", paused });
  }

  get #overHttp(): boolean {
    return this.client.state.transport !== "websocket";
  }

  #command(command: { type: string; [field: string]: unknown }): Promise<unknown> {
    if (!this.#overHttp) return this.client.request({ ...command, room: ROOM });
    return this.#ask(`rooms/${ROOM}/commands?username=${CALLER}`, command);
  }

  /** Over HTTP only the last events come with a room: the rest of the hour is asked for behind them. */
  #entered({ room, epoch, seq, messages, recovered }: RoomInfo): void {
    if (room !== ROOM || recovered || !this.#overHttp) return;
    const first = messages[0]?.seq ?? seq + 1;
    this.#fill(`${epoch}:${first}`).catch(() => {}); // then the chart begins later, as for a server that is new
  }

  async #fill(before: string | null): Promise<void> {
    for (let next = before, left = LONGEST; next && left > 0; ) {
      const page = (await this.#ask(`rooms/${ROOM}/messages?limit=${MOST_WITH_PAGE}&before=${next}`)) as Page;
      for (const event of page.messages) if (event.type === "metrics") this.#measured(event as never);
      next = page.next;
      left -= page.messages.length;
    }
  }

  #measured({ data, timestamp }: BoardEvents["metrics"]): void {
    const { series } = this.#board;
    const time = timestamp / 1000;
    if (time > (series.last?.time ?? 0)) this.#heardAt = this.client.clock.now();
    const pause = this.#inForce(this.#board.pause, time);
    series.add({ time, values: data }, pause?.time);
    this.#change({ pause });
  }

  /** A pause, unless it has ended by itself: what is older than the log nobody could see who opens the page now. */
  #inForce(pause: Pause | undefined, time = 0): Pause | undefined {
    const newest = Math.max(time, this.#board.series.last?.time ?? 0);
    return pause && newest - pause.time <= LONGEST ? pause : undefined;
  }

  #there({ nodes, timestamp }: BoardEvents["nodes"]): void {
    const time = timestamp / 1000;
    const there = nodes.map(({ node: id, host, pid, data }) => {
      const node = { id, host, pid, series: this.#nodes.get(id)?.series ?? new Series() };
      node.series.add({ time, values: data }, this.#board.pause?.time);
      this.#nodes.set(id, node);
      return node;
    });
    for (const [id, { series }] of this.#nodes) if ((series.last?.time ?? 0) < time - LONGEST) this.#nodes.delete(id);
    this.#change({ nodes: there });
  }

  /** What comes in one turn, such as an hour of seconds, is told once. */
  #change(changes: Partial<Board>): void {
    this.#board = { ...this.#board, ...changes };
    if (this.#told) return;
    this.#told = true;
    queueMicrotask(() => {
      this.#told = false;
      for (const watcher of [...this.#watchers]) watcher();
    });
  }
}
