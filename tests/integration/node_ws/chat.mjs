// A client on Node's ws for the tests: sends each line of standard input, prints each message, closes at its end.
import { createInterface } from "node:readline";
import WebSocket from "ws";

const [url, subprotocols = "", deflate = "no"] = process.argv.slice(2);
const socket = new WebSocket(url, subprotocols ? subprotocols.split(",") : [], { perMessageDeflate: deflate === "yes" });
const show = (entry) => process.stdout.write(`${JSON.stringify(entry)}\n`);

socket.on("open", () => {
  show({ open: socket.protocol, extensions: socket.extensions });
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => socket.send(line));
  lines.on("close", () => socket.close(1000, "bye"));
});
socket.on("message", (data, binary) => show(binary ? { binary: data.toString("hex") } : { text: data.toString() }));
socket.on("unexpected-response", (_, response) => {
  show({ status: response.statusCode });
  process.exit(0);
});
socket.on("close", (code, reason) => show({ close: code, reason: reason.toString() }));
