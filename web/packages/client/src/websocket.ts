// A link over a WebSocket, in JSON or MessagePack.
import { LOST } from "./closing.ts";
import type { AnyEvent, Command } from "./events.ts";
import type { Dial, Sink } from "./link.ts";

interface Codec {
  encode(command: Command): string | Uint8Array;
  decode(data: unknown): AnyEvent;
}

const JSON_PROTOCOL = "hubbub.v1.json";
const MSGPACK_PROTOCOL = "hubbub.v1.msgpack";
const json: Codec = { encode: JSON.stringify, decode: (data) => JSON.parse(data as string) };

export const dialWebSocket: Dial = ({ url, session, token, msgpack, environment }, sink) => {
  const address = new URL(url);
  if (session !== null) address.searchParams.set("session", session);
  const protocols = msgpack ? [MSGPACK_PROTOCOL, JSON_PROTOCOL] : [JSON_PROTOCOL];
  // A browser can set no header.
  if (token) protocols.push(`hubbub.bearer.${token}`);
  const { WebSocket } = environment;
  if (!WebSocket) throw new TypeError("There is no WebSocket here: give one, as in { WebSocket }");
  const socket = new WebSocket(address.href, protocols);
  socket.binaryType = "arraybuffer";
  let codec = json;
  const receive = ({ data }: { data: unknown }) => take(sink, () => codec.decode(data));
  socket.onmessage = (first) => {
    sink.through();
    socket.onmessage = receive;
    if (socket.protocol !== MSGPACK_PROTOCOL) return receive(first);
    const early = [first];
    socket.onmessage = (event) => void early.push(event);
    import("./msgpack.ts").then(
      (loaded) => {
        codec = loaded;
        socket.onmessage = receive;
        early.forEach(receive);
      },
      () => sink.ended(LOST, "msgpack.js could not be loaded"),
    );
  };
  socket.onclose = ({ code, reason }) => sink.ended(code, reason);
  // `close` follows, but for Node.js 20, which leaves it out where no connection could be had.
  socket.onerror = () => environment.clock.setTimeout(() => sink.ended(LOST, ""), 0);
  return {
    resumes: true,
    send: (command) => socket.send(codec.encode(command)),
    close(code, reason) {
      socket.onmessage = socket.onclose = socket.onerror = null;
      socket.close(code, reason);
    },
  };
};

/** Passes an event on; what cannot be read ends the connection. */
function take(sink: Sink, read: () => AnyEvent): void {
  let event: AnyEvent;
  try {
    event = read();
  } catch {
    return sink.ended(1007, "the server sent what is no message");
  }
  sink.event(event);
}
