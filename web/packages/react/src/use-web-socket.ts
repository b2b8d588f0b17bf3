// The hook for servers that are not Hubbub: any WebSocket that speaks JSON.
import { useEffect, useEffectEvent, useMemo, useSyncExternalStore } from "react";
import { JsonSocket, type SocketOptions, type SocketState } from "./json-socket.ts";

export interface WebSocketOptions<Message> extends SocketOptions {
  /** Is called with each message, also where several come before anything is drawn. */
  onMessage?: (message: Message) => void;
  /** Is called with what is not JSON, and with the error that says why; by default the console is. */
  onInvalid?: (data: unknown, error: Error) => void;
}

export interface WebSocketView<Message> extends SocketState<Message> {
  /** Sends a message as JSON; false where there is no connection, and it is not sent. */
  send(message: unknown): boolean;
}

/**
 * Connects to a WebSocket whose messages are JSON, for as long as the component is mounted.
 *
 * It comes back after 1 s, doubled with each try up to 30 s, and up to 30 % more at random, unless it was closed with
 * 1000. Options of the first time count, but for the callbacks.
 */
export function useWebSocket<Message = unknown>(
  url: string | URL,
  options: WebSocketOptions<Message> = {},
): WebSocketView<Message> {
  const address = String(url);
  // biome-ignore lint/correctness/useExhaustiveDependencies: an object that is written in place is a new one each time
  const socket = useMemo(() => new JsonSocket<Message>(address, options), [address]);
  const message = useEffectEvent((message: Message) => options.onMessage?.(message));
  const invalid = useEffectEvent((data: unknown, error: Error) =>
    options.onInvalid ? options.onInvalid(data, error) : console.error("A message is not JSON:", data, error),
  );
  useEffect(() => {
    socket.onMessage = (received) => message(received);
    socket.onInvalid = (data, error) => invalid(data, error);
    return socket.hold();
  }, [socket]);
  return { ...useSyncExternalStore(socket.watch, socket.get, socket.get), send: socket.send };
}
