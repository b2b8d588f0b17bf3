// A room as it is to be shown: its log as far as it is here, who is in it, who types, what is on its way.
import {
  type AnyEvent,
  type Client,
  type Entry,
  HubbubError,
  newMessageId,
  type Receipt,
  type Room,
  type RoomInfo,
  Timers,
} from "@hubbub/client";
import type { AppEvents, LogEvent } from "./events.ts";
import { Hold } from "./hold.ts";
import { Notifier } from "./notifier.ts";

/** How long somebody types after the last that was heard of it: two times the time between two of them. */
const TYPING_MS = 4000;
/** How many events come with the room, and with each page before it. */
const PAGE = 50;
/** How many events are kept here: the oldest go first, and where there are so many no older ones are loaded. */
const MOST_EVENTS = 20_000;

export interface RoomOptions extends Entry {
  /** Listens, without being a member. */
  subscribe?: boolean;
  /** What an earlier page has kept of `outgoing`: it is sent again under its ids, but for what had failed. */
  outgoing?: readonly Outgoing[];
}

/** A message of one's own that is not in the log yet, as far as is known here. */
export interface Outgoing {
  readonly messageId: string;
  readonly text: string;
  /** sent: the server has kept it, and the event is about to come. */
  readonly state: "sending" | "sent" | "failed";
  readonly error?: HubbubError;
}

export interface RoomState {
  /** refused: it cannot be entered, or not any more; `error` says why. A lost connection changes nothing here. */
  readonly status: "entering" | "entered" | "refused";
  readonly error?: HubbubError;
  /** The log as far as it is here, in order. */
  readonly events: readonly LogEvent[];
  readonly outgoing: readonly Outgoing[];
  /** Names; not all of them in large rooms, see `memberCount`. */
  readonly members: readonly string[];
  readonly memberCount: number;
  /** Who types, but for oneself. */
  readonly typing: readonly string[];
  /** Events behind the acknowledged one; where nothing was acknowledged yet, those that came while one was here. */
  readonly unread: number;
  /** Whether there may be events before the first one here that can be loaded; not where there is no space for them. */
  readonly hasOlder: boolean;
  readonly loadingOlder: boolean;
}

const EMPTY: RoomState = {
  status: "entering",
  events: [],
  outgoing: [],
  members: [],
  memberCount: 0,
  typing: [],
  unread: 0,
  hasOlder: false,
  loadingOlder: false,
};
/** Events with a number that are not of the log. */
const ASIDE = new Set(["room_info", "seen"]);

export class RoomStore {
  readonly name: string;
  readonly watch: (watcher: () => void) => () => void;
  readonly #client: Client<AppEvents>;
  readonly #subscribed: boolean;
  readonly #timers: Timers;
  readonly #notifier: Notifier;
  readonly #hold: Hold;
  readonly #typing = new Map<string, number>();
  #room: Room<AppEvents> | undefined;
  #username: string | undefined;
  #entry: RoomOptions = {};
  #stop: (() => void) | undefined;
  #state = EMPTY;
  #epoch = "";
  /** Where the log was when it was seen first. */
  #from: number | undefined;
  /** What came since `state` was asked for: arrays are copied once for all of it. */
  #fresh: LogEvent[] = [];
  #loading: Promise<boolean> | undefined;

  /** used: is told when somebody begins to use the room, and when nobody does any more. */
  constructor(client: Client<AppEvents>, name: string, subscribed: boolean, used: (inUse: boolean) => void) {
    this.name = name;
    this.#client = client;
    this.#subscribed = subscribed;
    this.#timers = new Timers(client.clock);
    this.#notifier = new Notifier(this.#timers);
    this.watch = this.#notifier.watch;
    this.#hold = new Hold(
      () => {
        used(true);
        this.#enter();
        this.#takeUp();
      },
      () => {
        this.#leave();
        used(false);
      },
    );
  }

  /** The room's present state: the same object until something changes. */
  get = (): RoomState => {
    if (this.#fresh.length) {
      const events = [...this.#state.events, ...this.#fresh].slice(-MOST_EVENTS);
      this.#fresh = [];
      this.#state = { ...this.#state, events, hasOlder: this.#state.hasOlder && events.length < MOST_EVENTS };
    }
    return this.#state;
  };

  /** Is in the room until what this returns is called; the first one says how, and a later one may give another name. */
  hold(entry: RoomOptions): () => void {
    const renamed = entry.username !== undefined && entry.username !== this.#username;
    if (!this.#room) this.#entry = entry;
    const release = this.#hold.take();
    if (renamed && this.#room && entry.username !== this.#username) {
      this.#entry = { ...this.#entry, ...entry };
      this.#enter();
    }
    return release;
  }

  // What is done in it

  send = (text: string, messageId = newMessageId()): Promise<Receipt> =>
    this.#send({ messageId, text, state: "sending" });

  retry = (messageId: string): Promise<Receipt> => {
    const outgoing = this.#state.outgoing.find((one) => one.messageId === messageId && one.state === "failed");
    if (!outgoing) return rejected("not_failed", "There is no such message that has failed");
    return this.#send({ messageId, text: outgoing.text, state: "sending" });
  };

  discard = (messageId: string): void => {
    this.#setOutgoing(messageId, undefined, "failed");
  };

  startTyping = (): void => this.#room?.typing();

  ack = (seq?: number): void => {
    this.#room?.ack(seq);
    this.#countUnread();
  };

  /** Loads what is before the first event here; whether there may be more. */
  loadOlder = (limit = PAGE): Promise<boolean> => {
    const room = this.#room;
    if (!room || !this.get().hasOlder) return Promise.resolve(false);
    this.#loading ??= this.#load(room, limit);
    return this.#loading;
  };

  async #load(room: Room<AppEvents>, limit: number): Promise<boolean> {
    this.#change({ loadingOlder: true });
    const before = this.#state.events[0]?.seq;
    const page = await room.history({ ...(before !== undefined && { before }), limit }).catch((error) => {
      this.#loaded(room, {});
      throw error;
    });
    const { events } = this.get();
    if (events[0]?.seq !== before) return this.#loaded(room, {});
    const same = before === undefined || events[0]?.epoch === page.epoch;
    const older = same ? page.messages.map((event) => ({ ...event, epoch: page.epoch }) as unknown as LogEvent) : [];
    const all = [...older, ...events].slice(-MOST_EVENTS);
    return this.#loaded(room, { events: all, hasOlder: same && page.more && all.length < MOST_EVENTS });
  }

  /** Nothing is loaded any more; whoever has left the room meanwhile gets nothing. */
  #loaded(room: Room<AppEvents>, changes: Partial<RoomState>): boolean {
    if (room !== this.#room) return false;
    this.#loading = undefined;
    if (this.#state.loadingOlder) this.#change({ ...changes, loadingOlder: false });
    return this.#state.hasOlder;
  }

  // Being in it

  #enter(): void {
    this.#stop?.();
    const { outgoing: _, ...options } = this.#entry;
    const entry = { history: PAGE, ...options };
    this.#username = entry.username;
    const room = this.#subscribed ? this.#client.subscribe(this.name, entry) : this.#client.join(this.name, entry);
    this.#room = room;
    this.#stop = room.on("*", (event) => this.#receive(event));
    this.#loading = undefined; // what was asked for under another name comes to nobody
    if (this.#state.loadingOlder) this.#change({ loadingOlder: false });
    if (this.#state.status === "refused") this.#change({ status: "entering" });
  }

  #leave(): void {
    this.#room?.leave();
    this.#timers.clear();
    this.#typing.clear();
    this.#fresh = [];
    this.#room = this.#loading = this.#username = this.#from = undefined;
    this.#epoch = "";
    this.#state = EMPTY;
  }

  #receive(event: AnyEvent): void {
    const { type } = event;
    if (type === "room_info") this.#entered(event as never);
    else if (type === "error") this.#refused(event as never);
    else if (type === "user_joined") this.#came(event as never);
    else if (type === "user_left") this.#went(event as never);
    else if (type === "member_count") this.#change({ memberCount: event.memberCount as number });
    else if (type === "typing") this.#types(event.username as string);
    else if (event.seq !== undefined && !ASIDE.has(type)) this.#append(event);
  }

  #entered({ members, count, epoch, seq, head, messages }: RoomInfo): void {
    const first = this.#from === undefined;
    const hasOlder = first ? (messages[0]?.seq ?? head + 1) > 1 : this.#state.hasOlder;
    this.#from ??= seq;
    this.#moveTo(epoch, this.#room?.position?.seq ?? seq);
    const { error: _, ...state } = this.#state;
    this.#state = state;
    this.#change({ status: "entered", members, memberCount: count, hasOlder });
    this.#countUnread();
  }

  /** Where numbers mean something else now, nothing of what comes was read. */
  #moveTo(epoch: string, seq: number): void {
    if (this.#epoch && this.#epoch !== epoch) this.#from = seq;
    this.#epoch = epoch;
  }

  #refused({ code, message }: { code: string; message: string }): void {
    this.#change({ status: "refused", error: new HubbubError(code, message) });
  }

  #came({ username, memberCount }: { username: string; memberCount: number }): void {
    this.#change({ members: [...this.#state.members, username], memberCount });
  }

  #went({ username, memberCount }: { username: string; memberCount: number }): void {
    this.#typesNoMore(username);
    const { members } = this.#state;
    const index = members.indexOf(username); // there may be two of that name
    this.#change({ members: members.filter((_, other) => other !== index), memberCount });
  }

  #append(event: AnyEvent): void {
    if (event.type === "gap") this.#moveTo(event.epoch as string, event.seq as number);
    this.#fresh.push({ ...event, epoch: this.#epoch } as unknown as LogEvent);
    if (typeof event.username === "string") this.#typesNoMore(event.username);
    if (typeof event.messageId === "string") this.#setOutgoing(event.messageId, undefined);
    this.#countUnread();
    this.#notifier.changed();
  }

  // Who types

  #types(username: string): void {
    this.#typing.set(username, this.#client.clock.now() + TYPING_MS);
    this.#showTyping();
  }

  #typesNoMore(username: string): void {
    if (this.#typing.delete(username)) this.#showTyping();
  }

  #showTyping(): void {
    const now = this.#client.clock.now();
    for (const [username, until] of this.#typing) if (until <= now) this.#typing.delete(username);
    const typing = [...this.#typing.keys()];
    if (typing.length) this.#timers.set("typing", Math.min(...this.#typing.values()) - now, () => this.#showTyping());
    if (typing.join("\n") !== this.#state.typing.join("\n")) this.#change({ typing });
  }

  // What is on its way

  #send(outgoing: Outgoing): Promise<Receipt> {
    const { messageId, text } = outgoing;
    if (!this.#room) return rejected("left", "Nobody is in the room here");
    this.#setOutgoing(messageId, outgoing);
    const sent = this.#room.send(text, messageId);
    sent.then(
      ({ seq }) => this.#kept(outgoing, seq),
      (error) => this.#setOutgoing(messageId, { ...outgoing, state: "failed", error }, "sending"),
    );
    return sent;
  }

  #takeUp(): void {
    for (const { error, ...one } of this.#entry.outgoing ?? []) {
      if (error) this.#setOutgoing(one.messageId, { ...one, error });
      else this.#send({ ...one, state: "sending" }).catch(() => {}); // shown by `outgoing`
    }
  }

  /** The server has the message. Where its event has come already, nothing is left to wait for. */
  #kept(outgoing: Outgoing, seq: number): void {
    const here = (this.#room?.position?.seq ?? 0) >= seq;
    this.#setOutgoing(outgoing.messageId, here ? undefined : { ...outgoing, state: "sent" }, "sending");
  }

  /** Changes, adds or takes away what is on its way; with `state` only what is in it. */
  #setOutgoing(messageId: string, to: Outgoing | undefined, state?: Outgoing["state"]): void {
    const { outgoing } = this.#state;
    const before = outgoing.find((one) => one.messageId === messageId);
    if (!before && (!to || state)) return;
    if (before && state && before.state !== state) return;
    const without = outgoing.filter((one) => one !== before);
    const changed = before && to ? outgoing.map((one) => (one === before ? to : one)) : to ? [...without, to] : without;
    this.#change({ outgoing: changed });
  }

  #countUnread(): void {
    const seq = this.#room?.position?.seq ?? 0;
    const unread = this.#room?.unread ?? Math.max(seq - (this.#from ?? seq), 0);
    if (unread !== this.#state.unread) this.#change({ unread });
  }

  #change(changes: Partial<RoomState>): void {
    this.#state = { ...this.#state, ...changes };
    this.#notifier.changed();
  }
}

function rejected(code: string, message: string): Promise<never> {
  const promise = Promise.reject(new HubbubError(code, message));
  promise.catch(() => {}); // shown by `outgoing`, for those who do not ask
  return promise;
}
