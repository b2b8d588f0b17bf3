// Our client against a server: each line of standard input is a dialogue, each line printed how it went.
import { createHmac } from "node:crypto";
import { createInterface } from "node:readline";
import { Client } from "../../../web/packages/client/dist/hubbub.js";
import { take } from "../../../web/packages/client/tests/dialogues.mjs";
import WebSocket from "../node_ws/node_modules/ws/wrapper.mjs"; // it can end a connection without a close frame

const LONGEST_MS = 10_000;
const base64url = (text) => Buffer.from(text).toString("base64url");

/** A token with these claims (RFC 7515, HS256); `exp` is in seconds from now. */
function signed(claims, secret) {
  const whole = { ...claims, exp: Date.now() / 1000 + claims.exp };
  const content = `${base64url('{"alg":"HS256"}')}.${base64url(JSON.stringify(whole))}`;
  return `${content}.${createHmac("sha256", secret).update(content).digest("base64url")}`;
}

function onServer(url, secret) {
  const sockets = new Map();
  return {
    client(name, options) {
      class Socket extends WebSocket {
        constructor(...given) {
          super(...given);
          sockets.set(name, this);
        }
      }
      return new Client({ ...options, url: new URL(options.url, url), WebSocket: Socket });
    },
    raw: (name, data) => sockets.get(name).send(data),
    drop: (name) => sockets.get(name).terminate(),
    token: (claims) => signed(claims, secret),
    async post(path, headers) {
      const response = await fetch(new URL(path, url), { method: "POST", headers });
      return { status: response.status, answer: await response.json() };
    },
    async until(done) {
      for (const end = Date.now() + LONGEST_MS; !done(); await new Promise((resolve) => setTimeout(resolve, 2))) {
        if (Date.now() > end) throw new Error(`it did not happen within ${LONGEST_MS} ms`);
      }
    },
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { dialogue, url, secret } = JSON.parse(line);
  const result = await take(dialogue, onServer(url, secret)).then(() => "taken", String);
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
