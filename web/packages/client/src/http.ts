// A link over plain HTTP: rooms come by requests that last, and each command is a POST. protocol/HTTP.md has the formats.
import { LOST, RESTART } from "./closing.ts";
import { Timers } from "./environment.ts";
import type { AnyEvent, Command, Position } from "./events.ts";
import type { Dial, Link, Sink, Target } from "./link.ts";

const MOST_ROOMS = 32;
/** How long the server may take to begin. */
const BEGIN_MS = 10_000;
/** How long a poll waits; the most impatient proxies give up after 30 s. */
const POLL_SECONDS = 25;

/** A room on a request: the command that it was asked for with, where it is, and whether it was entered. */
interface Wanted {
  readonly command: Command;
  place: Position | undefined;
  entered: boolean;
}

/** Rooms that share a request, all under one name; undefined for subscriptions. */
interface Group {
  readonly username: string | undefined;
  session: string | null;
  readonly rooms: Map<string, Wanted>;
  alone: boolean;
  stop: AbortController | undefined;
}

/** Why a request did not bring what it should; `blocked` where it was not the server who answered. */
class Ended {
  constructor(
    readonly code: number,
    readonly reason: string,
    readonly blocked = false,
  ) {}
}

abstract class HttpLink implements Link {
  readonly resumes = false;
  protected readonly timers: Timers;
  #token: string | undefined;
  #closed = false;
  #stale = new Set<Group>();
  readonly #groups: Group[] = [];
  readonly #fetch: typeof fetch;

  constructor(
    protected readonly target: Target,
    protected readonly sink: Sink,
  ) {
    const { fetch, clock } = target.environment;
    if (!fetch) throw new TypeError("There is no fetch here: give one, as in { fetch }");
    this.#fetch = fetch;
    this.#token = target.token;
    this.timers = new Timers(clock);
    // What is in the way shows once there is a room to ask for.
    queueMicrotask(() => this.#closed || sink.event({ type: "connected", session: target.session }));
  }

  /** Brings the events of a group's rooms, until it throws. */
  protected abstract carry(group: Group, signal: AbortSignal): Promise<void>;

  close(): void {
    this.#closed = true;
    this.timers.clear();
    for (const { stop } of this.#groups) stop?.abort();
  }

  send(command: Command): void {
    const { type, id, room = "" } = command;
    if (type === "join" || type === "subscribe") this.#want(command, room);
    else if (type === "leave" || type === "unsubscribe") {
      this.#drop(room);
      this.#answer(id, {});
    } else if (type === "refresh") {
      this.#token = command.token as string;
      for (const group of this.#groups) this.#touch(group);
      this.#answer(id, { missing: [] });
    } else this.call(command).then((reply) => reply && this.#tell(...reply), this.#fail);
  }

  // Which rooms

  #want(command: Command, room: string): void {
    this.#drop(room);
    if (command.keep === false) {
      for (const group of this.#groups)
        if (group.username !== undefined) for (const one of group.rooms.keys()) this.#drop(one);
    }
    const { since, username } = command as { since?: Position; username?: string };
    const group = this.#home(username);
    group.rooms.set(room, { command, place: since?.epoch ? since : undefined, entered: false });
    this.#touch(group);
  }

  /** The group that has room for one more under this name. */
  #home(username: string | undefined): Group {
    const fits = (group: Group) => group.username === username && !group.alone && group.rooms.size < MOST_ROOMS;
    return this.#groups.find(fits) ?? this.#group(username, false);
  }

  /** The first group has the client's session, so that messageIds and cursors are those of its WebSocket. */
  #group(username: string | undefined, alone: boolean): Group {
    const session = this.#groups.length ? (username === undefined ? null : "") : this.target.session;
    const group = { username, alone, session, rooms: new Map(), stop: undefined };
    this.#groups.push(group);
    return group;
  }

  #drop(room: string): void {
    for (const group of this.#groups) if (group.rooms.delete(room)) this.#touch(group);
  }

  /** Its request is another one from now on; once for all that changes in this turn. */
  #touch(group: Group): void {
    if (!this.#stale.size) queueMicrotask(() => this.#settle());
    this.#stale.add(group);
  }

  #settle(): void {
    const stale = this.#stale;
    this.#stale = new Set();
    if (!this.#closed) for (const group of stale) this.#begin(group);
  }

  #begin(group: Group): void {
    group.stop?.abort();
    this.timers.cancel(group);
    if (!group.rooms.size) return;
    const stop = new AbortController();
    group.stop = stop;
    this.carry(group, stop.signal).catch((error) => stop.signal.aborted || this.#fail(error, group));
  }

  #fail = (error: unknown, group?: Group): void => {
    if (error instanceof Refusal) {
      if (group && this.#setApart(group, error)) return this.#touch(group);
      const { status, message, retryAfter } = error;
      if (status === 401) return this.sink.ended(4401, message);
      return this.sink.ended(retryAfter ? RESTART : LOST, retryAfter ? `after=${retryAfter}` : message);
    }
    const { code, reason, blocked } = error instanceof Ended ? error : new Ended(LOST, String(error));
    this.sink.ended(code, reason, blocked);
  };

  /** A room was refused: which one, those say that are asked for alone. Whether it was that. */
  #setApart(group: Group, { status, event }: Refusal): boolean {
    const fresh = [...group.rooms].filter(([, { entered }]) => !entered);
    if (![400, 403, 404].includes(status)) return false;
    for (const [room, wanted] of fresh) {
      group.rooms.delete(room);
      if (fresh.length === 1) this.#tell({ ...event, id: wanted.command.id as number });
      else {
        const alone = this.#group(group.username, true);
        alone.rooms.set(room, wanted);
        this.#touch(alone);
      }
    }
    return fresh.length > 0;
  }

  /** A room that was asked for alone shares a request again: browsers have few connections. */
  #bringHome(group: Group, room: string, wanted: Wanted): void {
    const home = this.#home(group.username);
    group.rooms.delete(room);
    home.rooms.set(room, wanted);
    for (const changed of [group, home]) this.#touch(changed);
  }

  // What comes

  #tell(...events: AnyEvent[]): void {
    for (const event of events) if (!this.#closed) this.sink.event(event);
  }

  #answer(id: unknown, fields: object): void {
    if (id !== undefined) queueMicrotask(() => this.#tell({ type: "ok", id: id as number, ...fields }));
  }

  protected take(group: Group, event: AnyEvent): void {
    const wanted = group.rooms.get(event.room ?? "");
    const { epoch = wanted?.place?.epoch, seq } = event as Partial<Position>;
    if (wanted && seq !== undefined && epoch !== undefined && event.type !== "seen") wanted.place = { epoch, seq };
    if (event.type !== "room_info" || !wanted) return this.#tell(event);
    const { id } = wanted.command;
    this.#tell(wanted.entered || id === undefined ? event : { ...event, id });
    wanted.entered = true;
    if (group.alone) this.#bringHome(group, event.room as string, wanted);
  }

  protected takeSession(group: Group, event: AnyEvent): void {
    if (group.session === null) return;
    group.session = event.session as string;
    if (group === this.#groups[0]) this.#tell(event);
  }

  // What goes

  /** Sends a command, and returns the reply as over a WebSocket, behind what else came with it. */
  protected async call({ type, id, room: given, ...fields }: Command): Promise<AnyEvent[] | undefined> {
    const group = this.#groups.find(({ rooms }) => given === undefined || rooms.has(given));
    const room = given ?? group?.rooms.keys().next().value;
    const gone = { type: "error", code: "not_in_room", message: "Over HTTP a command needs a room", id: id as number };
    if (room === undefined) return id === undefined ? undefined : [gone];
    const query = new URLSearchParams();
    const { session } = this.#groups[0] ?? this.target;
    if (session) query.set("session", session);
    if (group?.username) query.set("username", group.username);
    const body = JSON.stringify({ type, ...fields });
    const headers = { "content-type": "application/json" };
    const path = `api/rooms/${encodeURIComponent(room)}/commands`;
    try {
      const response = await this.request(path, query, { method: "POST", headers, body });
      const { events = [], ...reply } = response.status === 204 ? {} : await response.json();
      return id === undefined ? events : [...events, { type: "ok", id, ...reply }];
    } catch (error) {
      if (!(error instanceof Refusal) || error.status === 401) throw error;
      return id === undefined ? [error.event] : [{ ...error.event, id: id as number }];
    }
  }

  /** Asks the server; throws where it does not answer with what was asked for. */
  protected async request(path: string, query: URLSearchParams, options: RequestInit): Promise<Response> {
    const url = new URL(path, this.target.url);
    url.protocol = url.protocol.replace("ws", "http");
    for (const [name, value] of query) url.searchParams.append(name, value);
    const headers = { ...options.headers, ...(this.#token && { authorization: `Bearer ${this.#token}` }) };
    const response = await this.#fetch(url, { ...options, headers, credentials: "include", cache: "no-store" });
    if (response.ok) return response;
    const problem = await response.json().catch(() => undefined);
    if (problem?.title === undefined) throw new Ended(LOST, `answered with ${response.status}`, true);
    throw new Refusal(response.status, problem, Number(response.headers.get("retry-after")) * 1000);
  }

  /** What a group's request asks for. */
  protected query(group: Group): URLSearchParams {
    const rooms = [...group.rooms.values()];
    const query = new URLSearchParams([...group.rooms.keys()].map((room) => ["room", room]));
    if (rooms.some(({ place }) => place)) query.set("since", rooms.map(({ place }) => format(place)).join());
    const history = Math.max(...rooms.map(({ command, entered }) => (entered ? 0 : Number(command.history ?? 0))));
    if (history) query.set("history", String(history));
    if (group.username !== undefined) query.set("username", group.username);
    if (group.session !== null) query.set("session", group.session);
    return query;
  }

  /** Has a group's request end where nothing comes for so long. */
  protected limit(group: Group, ms: number, blocked: boolean): void {
    this.timers.set(group, ms, () => this.#fail(new Ended(LOST, "no answer", blocked)));
  }
}

/** The server itself has refused a request. */
class Refusal {
  readonly message: string;
  readonly event: AnyEvent;
  readonly retryAfter: number | undefined;

  constructor(
    readonly status: number,
    { detail, code, retryAfter, correlationId }: Record<string, string | undefined>,
    after: number,
  ) {
    this.message = detail ?? "";
    const later = status === 429 ? "rate_limited" : status >= 500 ? "unavailable" : undefined;
    this.retryAfter = Number(retryAfter) || (later && (after || 1000));
    const more = { ...(this.retryAfter && { retryAfter: this.retryAfter }), ...(correlationId && { correlationId }) };
    this.event = { type: "error", code: code ?? later ?? "forbidden", message: this.message, ...more };
  }
}

const STREAM = "text/event-stream";

/** A stream of Server-Sent Events for each group; each event's `data:` is one line and says all that `id:` would. */
class StreamLink extends HttpLink {
  protected async carry(group: Group, signal: AbortSignal): Promise<void> {
    this.limit(group, BEGIN_MS, true);
    const response = await this.request("sse", this.query(group), { signal, headers: { accept: STREAM } });
    const reader = response.headers.get("content-type")?.startsWith(STREAM) && response.body?.getReader();
    if (!reader) throw new Ended(LOST, "something else answers in place of the server", true);
    const text = new TextDecoder();
    const heard = { ms: 0, retry: "" };
    for (let rest = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) throw new Ended(LOST, "the stream has ended", !heard.ms);
      const lines = (rest + text.decode(value, { stream: true })).split("\n");
      rest = lines.pop() as string;
      for (const line of lines) if (!signal.aborted) this.#line(group, line, heard);
      if (heard.ms && !signal.aborted) this.limit(group, heard.ms, false);
    }
  }

  #line(group: Group, line: string, heard: { ms: number; retry: string }): void {
    if (line.startsWith("retry: ")) heard.retry = line.slice(7);
    if (!line.startsWith("data: ")) return;
    const event = JSON.parse(line.slice(6)) as AnyEvent;
    const { type, code, reason } = event;
    if (type === "closed") throw new Ended(code as number, code === RESTART ? `after=${heard.retry}` : `${reason}`);
    if (type !== "connected") return this.take(group, event);
    // A comment comes once a heartbeat.
    heard.ms = 2 * (event.heartbeat as number) + 1000;
    this.sink.through();
    this.takeSession(group, event);
  }
}

/** What a poll is answered with. */
interface Answer {
  events: AnyEvent[];
  since: string;
  recovered: boolean | null;
  session?: string;
}

/** One poll after the other for each group. Only what rooms keep comes this way. */
class PollLink extends HttpLink {
  protected async carry(group: Group, signal: AbortSignal): Promise<void> {
    let wait = [...group.rooms.values()].every(({ entered }) => entered) ? POLL_SECONDS : 0;
    for (; !signal.aborted; wait = POLL_SECONDS) {
      this.limit(group, wait * 1000 + BEGIN_MS, true);
      const query = this.query(group);
      query.set("timeout", String(wait));
      if (group.username !== undefined && group.session === null) query.set("session", "");
      const response = await this.request("poll", query, { signal });
      const answer: Answer = await response.json().catch((error) => {
        throw new Ended(LOST, String(error), true);
      });
      this.sink.through();
      const { session } = answer;
      if (session && session !== group.session) this.takeSession(group, { type: "connected", session });
      await this.#take(group, answer, signal);
    }
  }

  /** Tells of each room what came in it: as what a room is entered with, or as events. */
  async #take(group: Group, { events, since, recovered }: Answer, signal: AbortSignal): Promise<void> {
    const places = since.split(",").map(parse);
    for (const [index, [room, wanted]] of [...group.rooms].entries()) {
      const [place, messages] = [places[index] as Position, events.filter((event) => event.room === room)];
      const missed = wanted.place && recovered === false && !follows(wanted.place, place, messages);
      const info = { type: "room_info", room, ...place, head: place.seq, recovered: wanted.place ? !missed : null };
      if (!wanted.entered)
        messages.splice(0, Infinity, { ...info, messages: [...messages], ...(await this.#who(room)) });
      else if (missed) messages.unshift({ type: "gap", room, ...place, seq: (messages[0]?.seq ?? place.seq + 1) - 1 });
      if (signal.aborted) return;
      for (const event of messages) this.take(group, event);
      wanted.place = place;
    }
  }

  /** Who is in a room, as far as that may be known. */
  async #who(room: string): Promise<object> {
    const [reply] = (await this.call({ type: "presence", room, id: 0 })) ?? [];
    const { members = [], count = 0 } = (reply ?? {}) as { members?: string[]; count?: number };
    return { members, count, ...(members.length < count && { membersTruncated: true }) };
  }
}

/** Whether what came in one room goes on where the client was, when it did not in all of them. */
function follows(before: Position, place: Position, events: AnyEvent[]): boolean {
  return before.epoch === place.epoch && before.seq === (events[0]?.seq ?? place.seq + 1) - 1;
}

export const dialStream: Dial = (target, sink) => new StreamLink(target, sink);
export const dialPoll: Dial = (target, sink) => new PollLink(target, sink);

function format(place: Position | undefined): string {
  return place ? `${place.epoch}:${place.seq}` : "-";
}

function parse(place: string): Position {
  const colon = place.lastIndexOf(":");
  return { epoch: place.slice(0, colon), seq: Number(place.slice(colon + 1)) };
}
