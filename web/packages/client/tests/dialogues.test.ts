// Every dialogue of protocol/dialogues, with the client on one side and the script itself on the other.
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Client, type Options } from "../src/index.ts";
import { decode, encode } from "../src/msgpack.ts";
import { type Scene, take, whyNot } from "./dialogues.mjs";
import { FakeClock, FakeSocket, FakeSurroundings } from "./stage.ts";

const FOLDER = new URL("../../../../protocol/dialogues/", import.meta.url);
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));
const read = (file: string) => JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"));

class Scripted extends FakeSocket {
  get binary(): boolean {
    return this.protocol === "hubbub.v1.msgpack";
  }

  override send(data: string | Uint8Array): void {
    this.sent.push((this.binary ? decode(data) : JSON.parse(data as string)) as never);
  }

  override says(event: object): void {
    this.onmessage?.({ data: this.binary ? encode(event as never).buffer : JSON.stringify(event) });
  }
}

/** A server that says what the dialogue expects of it, and sees to it that it was asked. */
function scripted(): Scene & { sent: () => number } {
  const sockets = new Map<string, Scripted>();
  const all: Scripted[] = [];
  const at = (name: string) => sockets.get(name) as Scripted;
  return {
    sent: () => all.reduce((sum, { sent }) => sum + sent.length, 0),
    client(name, options: Options) {
      class WebSocket extends Scripted {
        constructor(url: string, protocols: string[]) {
          super(url, protocols);
          sockets.set(name, this);
          all.push(this);
        }
      }
      const around = { clock: new FakeClock(), surroundings: new FakeSurroundings(), WebSocket };
      return new Client({ ...options, ...around, url: new URL(String(options.url), "ws://hub.test") });
    },
    raw: () => {},
    drop: (name) => at(name).ends(),
    post: () => Promise.reject("it is played"),
    token: ({ sub }) => sub,
    async until(done) {
      for (let turns = 0; !done() && turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve));
      if (!done()) throw new Error("it did not happen");
    },
    play(name, { expect, expectClose, connect }, filled) {
      if (expect) at(name).says(filled(expect));
      else if (connect?.status) at(name).ends();
      else if (expectClose) at(name).ends(expectClose.code, expectClose.reason);
    },
  };
}

test.each(FILES.filter((file) => !whyNot(read(file))))("%s", async (file) => {
  const dialogue = read(file);
  const scene = scripted();
  await take(dialogue, scene);
  const commands = dialogue.steps.flatMap(({ send = [], times = 1 }) => Array(times).fill(send).flat());
  expect(scene.sent()).toBe(commands.length);
});

test("hardly any is left out", () => {
  expect(FILES.filter((file) => whyNot(read(file)))).toEqual(["26-refused-before-the-upgrade.json"]);
});

test("a dialogue whose server says something else fails", async () => {
  const scene = scripted();
  const play = scene.play;
  scene.play = (name, step, filled) => play?.(name, step, (value) => ({ ...filled(value), seq: 99 }));
  await expect(take(read("02-chat.json"), scene)).rejects.toThrow("step 4");
});
