// The public names of the hooks.
export type { AppEvents, EventType, HubEvents, LogEvent } from "./events.ts";
export {
  type Connection,
  HubbubProvider,
  type ProviderProps,
  type RoomView,
  useClient,
  useConnection,
  useEvent,
  useLatest,
  useRoom,
} from "./hooks.tsx";
export type { SocketOptions, SocketState, SocketStatus } from "./json-socket.ts";
export type { Outgoing, RoomOptions, RoomState } from "./room-store.ts";
export { useWebSocket, type WebSocketOptions, type WebSocketView } from "./use-web-socket.ts";
