// The hooks of a Hubbub server. They hold no state of their own: they look at stores that live beside React.
import { Client, type Options, type Receipt, type State } from "@hubbub/client";
import {
  createContext,
  type ReactNode,
  useContext,
  useEffect,
  useEffectEvent,
  useMemo,
  useSyncExternalStore,
} from "react";
import type { AppEvents, EventType, HubEvents } from "./events.ts";
import { Hub } from "./hub.ts";
import type { RoomOptions, RoomState } from "./room-store.ts";

const HubContext = createContext<Hub | undefined>(undefined);

export interface ProviderProps {
  /** How to connect; those of the first time count: give another `key` for another connection. */
  options?: Options;
  /** A client of one's own, in place of `options`; whoever made it opens and closes it. */
  client?: Client<AppEvents>;
  children?: ReactNode;
}

/** Connects, for as long as it is mounted, and gives the connection to all hooks below it. */
export function HubbubProvider({ options, client, children }: ProviderProps): ReactNode {
  // biome-ignore lint/correctness/useExhaustiveDependencies: an object that is written in place is a new one each time
  const hub = useMemo(() => new Hub(client ?? new Client<AppEvents>(options), !client), [client]);
  useEffect(() => hub.hold(), [hub]);
  return <HubContext value={hub}>{children}</HubContext>;
}

function useHub(): Hub {
  const hub = useContext(HubContext);
  if (!hub) throw new Error("There is no <HubbubProvider> around this component");
  return hub;
}

/** The client itself, for what no hook does. */
export function useClient(): Client<AppEvents> {
  return useHub().client;
}

export interface Connection extends State {
  /** Connects, or tries again at once. */
  open(): void;
  /** Ends the connection until `open`. */
  close(): void;
}

/** How the connection stands: its status, the tries, when the next one is, how long an answer takes. */
export function useConnection(): Connection {
  const { watchState, getState, open, close } = useHub();
  return { ...useSyncExternalStore(watchState, getState, getState), open, close };
}

export interface RoomView extends RoomState {
  readonly name: string;
  /** Says something; it is in `outgoing` until it is in `events`, and stays there when it fails. */
  send(text: string, messageId?: string): Promise<Receipt>;
  /** Sends a message of `outgoing` again that has failed; it cannot be in the room twice. */
  retry(messageId: string): Promise<Receipt>;
  /** Gives up a message that has failed. */
  discard(messageId: string): void;
  /** Loads a page of what is before the first event here; whether there may be more. */
  loadOlder(limit?: number): Promise<boolean>;
  /** Tells the others that somebody types. */
  startTyping(): void;
  /** All up to `seq` was read, by default all that has come. */
  ack(seq?: number): void;
}

/**
 * Is in a room for as long as any component uses it, and shows it: its log, its members, who types.
 *
 * Options of the first component that uses the room count; a later one may bring another `username`.
 */
export function useRoom(name: string, { subscribe = false, ...entry }: RoomOptions = {}): RoomView {
  const store = useHub().room(name, subscribe);
  const hold = useEffectEvent(() => store.hold(entry));
  // biome-ignore lint/correctness/useExhaustiveDependencies: who has another name is in the room anew
  useEffect(() => hold(), [store, entry.username]);
  const state = useSyncExternalStore(store.watch, store.get, store.get);
  const { send, retry, discard, loadOlder, startTyping, ack } = store;
  return { ...state, name, send, retry, discard, loadOlder, startTyping, ack };
}

/** Calls a handler with each event of a type, `*` for all: of one room, or of all of them and the connection. */
export function useEvent<Type extends EventType>(
  type: Type,
  handler: (event: HubEvents[Type]) => void,
  room?: string,
): void {
  const client = useClient();
  const handle = useEffectEvent((event: HubEvents[Type]) => {
    if (room === undefined || (event as { room?: string }).room === room) handler(event);
  });
  useEffect(() => client.on(type, (event) => handle(event)), [client, type]);
}

/** The latest event of a type, of one room or of all, since the provider is there; it changes at most once a frame. */
export function useLatest<Type extends EventType>(type: Type, room?: string): HubEvents[Type] | undefined {
  const hub = useHub();
  const get = () => hub.latest(type, room) as HubEvents[Type] | undefined;
  return useSyncExternalStore(hub.watchLatest, get, get);
}
