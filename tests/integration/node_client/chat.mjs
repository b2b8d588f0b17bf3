// Our client in a room: says each line of standard input, prints what it hears, what was kept and how it stands.
import { createInterface } from "node:readline";
import { connect } from "../../../web/packages/client/dist/hubbub.js";

const [url, name, username, options = "{}"] = process.argv.slice(2);
const show = (entry) => process.stdout.write(`${JSON.stringify(entry)}\n`);
const hub = connect({ url, ...JSON.parse(options) });
const room = hub.join(name, { username });

let status = "";
hub.watch(() => {
  if (status !== hub.state.status) show({ status: hub.state.status });
  status = hub.state.status;
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
