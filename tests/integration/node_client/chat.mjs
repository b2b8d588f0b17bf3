// Our client in a room: says each line of standard input, prints what it hears, what was kept and how it stands.
import { createInterface } from "node:readline";
import { connect } from "../../../web/packages/client/dist/hubbub.js";

const [url, name, username, given = "{}"] = process.argv.slice(2);
const { blockedMs = 0, ...options } = JSON.parse(given);
const show = (entry) => process.stdout.write(`${JSON.stringify(entry)}\n`);

/** A network that lets no WebSocket through, for so long. */
const openAt = Date.now() + blockedMs;
class Sometimes {
  constructor(...dialled) {
    if (Date.now() >= openAt) return new WebSocket(...dialled);
    setTimeout(() => this.onclose?.({ code: 1006, reason: "" }));
  }

  close() {}
}

const hub = connect({ url, WebSocket: Sometimes, ...options });
const room = hub.join(name, { username });

let status = "";
hub.watch(() => {
  const now = `${hub.state.status} ${hub.state.transport}`;
  if (status !== now) show({ status: hub.state.status, transport: hub.state.transport });
  status = now;
});
room.on("message", ({ text, seq }) => show({ heard: text, seq }));
room.on("gap", ({ seq }) => show({ gap: seq }));
room.on("user_left", ({ username }) => show({ left: username }));

const lines = createInterface({ input: process.stdin });
lines.on("line", (text) =>
  room.send(text).then(
    ({ seq }) => show({ kept: text, seq }),
    ({ code }) => show({ refused: text, code }),
  ),
);
lines.on("close", () => hub.close());
