// Takes the steps of a dialogue of protocol/dialogues with the client; the README there says what they mean.
// Who plays the server's half is a scene: a scripted one in Vitest, or a real server.

/**
 * @typedef {import("../src/index.ts").AnyEvent} AnyEvent
 * @typedef {import("../src/index.ts").Client} Client
 * @typedef {import("../src/index.ts").Options} Options
 * @typedef {{ client: Client, events: AnyEvent[] }} Actor
 * @typedef {Record<string, any>} Step
 *
 * @typedef {object} Scene
 * @property {(name: string, options: Options) => Client} client makes a client that is not open yet
 * @property {(name: string, data: string | Uint8Array) => void} raw sends what a client would never send
 * @property {(name: string) => void} drop ends a connection without a close frame
 * @property {(path: string, headers: Record<string, string>) => Promise<{ status: number, answer: any }>} post
 * @property {(claims: any) => string} token signs a token
 * @property {(done: () => boolean) => Promise<void>} until waits for something to be so; rejects when it takes too long
 * @property {((name: string, step: Step, filled: (value: any) => any) => void)} [play] the server's half, if it is not there
 */

const PLACEHOLDER = /<(uuid|ms|int|text|any|room|token)(?::([a-z0-9]+))?>/;
const WHOLE = new RegExp(`^${PLACEHOLDER.source}$`);
const ALL = new RegExp(PLACEHOLDER.source, "g");
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const EARLIEST_MS = 1_600_000_000_000;

/** @type {Record<string, (value: any) => boolean>} */
const KINDS = {
  uuid: (value) => UUID.test(value),
  ms: (value) => Number.isInteger(value) && value > EARLIEST_MS,
  int: Number.isInteger,
  text: (value) => typeof value === "string",
  any: () => true,
};

/** Why a client cannot take a dialogue; undefined where it can. @param {{ steps: Step[] }} dialogue */
export function whyNot({ steps }) {
  const offers = steps.flatMap(({ connect }) => connect?.subprotocols ?? []);
  if (offers.includes("soap")) return "it offers no sub-protocols but the server's";
  return undefined;
}

/** What stands for placeholders in one dialogue. */
class Values {
  /** @param {Record<string, any>} tokens @param {(claims: any) => string} sign */
  constructor(tokens, sign) {
    this.tokens = tokens;
    this.sign = sign;
    /** @type {Map<string, any>} */
    this.known = new Map();
  }

  /** A value with what placeholders stand for in their place. @param {any} value @returns {any} */
  filled(value) {
    if (Array.isArray(value)) return value.map((item) => this.filled(item));
    if (value instanceof Object) {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [this.filled(name), this.filled(item)]));
    }
    if (typeof value !== "string") return value;
    return WHOLE.test(value) ? this.value(value) : value.replace(ALL, (found) => String(this.value(found)));
  }

  /** @param {string} placeholder @returns {any} */
  value(placeholder) {
    const [, kind, name] = WHOLE.exec(placeholder) ?? [];
    if (!this.known.has(placeholder)) {
      if (kind === "room") this.known.set(placeholder, `room ${crypto.randomUUID().replaceAll("-", "")}`);
      else if (kind === "token") this.known.set(placeholder, this.sign(this.filled(this.tokens[name ?? ""])));
      else throw new Error(`${placeholder} has not occurred yet`);
    }
    return this.known.get(placeholder);
  }

  /** Throws where a value is not what is expected. @param {any} expected @param {any} got @param {boolean} exact */
  compare(expected, got, exact) {
    const [whole, kind, name] = (typeof expected === "string" && WHOLE.exec(expected)) || [];
    if (kind && whole) {
      if (kind === "room") name && this.value(whole);
      else if (!KINDS[kind]?.(got)) throw new Error(`${JSON.stringify(got)} is not ${whole}`);
      else if (!name) return;
      if (!this.known.has(whole)) this.known.set(whole, got);
      expected = this.known.get(whole);
    }
    if (!(expected instanceof Object)) {
      if (expected !== got) throw new Error(`${JSON.stringify(got)} is not ${JSON.stringify(expected)}`);
      return;
    }
    const names = Object.keys(expected);
    const more = exact || Array.isArray(expected) ? Object.keys(got ?? {}).filter((one) => !names.includes(one)) : [];
    if (more.length) throw new Error(`${more} should not be in ${JSON.stringify(got)}`);
    for (const one of names) this.compare(expected[one], got?.[one], exact);
  }
}

/**
 * Takes a dialogue's steps in order.
 *
 * @param {{ steps: Step[], tokens?: Record<string, any> }} dialogue
 * @param {Scene} scene
 */
export async function take({ steps, tokens = {} }, scene) {
  const values = new Values(tokens, scene.token);
  /** @type {Map<string, Actor>} */
  const actors = new Map();
  try {
    for (const [index, step] of steps.entries()) {
      for (let times = step.times ?? 1; times; times--) {
        try {
          await one(step, actors, values, scene);
        } catch (error) {
          throw new Error(`step ${index + 1}, ${JSON.stringify(step)}: ${error}`);
        }
      }
    }
  } finally {
    for (const { client } of actors.values()) client.close();
  }
}

/** @param {Step} step @param {Map<string, Actor>} actors @param {Values} values @param {Scene} scene */
async function one(step, actors, values, scene) {
  const name = step.client;
  const filled = values.filled.bind(values);
  if (step.post) {
    const { path, headers = {}, ...expected } = step.post;
    const got = scene.play ? made(expected, values) : await scene.post(path, filled(headers));
    values.compare(expected, got, false);
    return;
  }
  if (step.connect) return connect(name, filled(step.connect), actors, scene);
  const { client, events } = /** @type {Actor} */ (actors.get(name));
  for (const command of [step.send ?? []].flat()) {
    const { id, ...rest } = filled(command);
    if (id === undefined) client.tell(rest);
    else client.request({ ...rest, id }).catch(() => {});
  }
  if (step.sendText) scene.raw(name, step.sendText);
  if (step.sendBinary) scene.raw(name, Buffer.from(step.sendBinary, "hex"));
  if (step.close) client.close(step.close.code, step.close.reason);
  if (step.drop) {
    if (client.state.status !== "closed") scene.drop(name);
    await scene.until(() => client.state.status === "closed");
  }
  for (const event of [step.expect ?? []].flat()) {
    scene.play?.(name, { expect: event }, (value) => made(value, values));
    await scene.until(() => events.length > 0);
    values.compare(event, events.shift(), step.exact ?? false);
  }
  if (step.expectClose) {
    scene.play?.(name, step, filled);
    await scene.until(() => client.state.status === "closed");
    values.compare(step.expectClose, client.state, false);
  }
}

/** @param {string} name @param {Step} request @param {Map<string, Actor>} actors @param {Scene} scene */
async function connect(name, { path = "/ws", subprotocols = [], headers = {}, status }, actors, scene) {
  const query = new URLSearchParams(path.split("?")[1] ?? "");
  const bearer = subprotocols.find((/** @type {string} */ offered) => offered.startsWith("hubbub.bearer."));
  const token = bearer?.slice("hubbub.bearer.".length) ?? headers.authorization?.replace("Bearer ", "");
  const session = query.get("session");
  query.delete("session");
  const client = scene.client(name, {
    url: query.size ? `${path.split("?")[0]}?${query}` : path.split("?")[0],
    session,
    token,
    encoding: subprotocols[0] === "hubbub.v1.msgpack" ? "msgpack" : "json",
    maxAttempts: 0,
  });
  /** @type {AnyEvent[]} */
  const events = [];
  client.on("*", (event) => events.push({ ...event }));
  actors.set(name, { client, events });
  client.open();
  scene.play?.(name, { connect: { status } }, (value) => value);
  if (!status) return;
  await scene.until(() => client.state.status === "closed");
  if (events.length) throw new Error(`it was let in: ${JSON.stringify(events)}`);
}

/** What a server could say for this. @param {any} value @param {Values} values @returns {any} */
function made(value, values) {
  if (Array.isArray(value)) return value.map((item) => made(item, values));
  if (value instanceof Object) {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [values.filled(name), made(item, values)]));
  }
  const [whole, kind, name] = (typeof value === "string" && WHOLE.exec(value)) || [];
  if (!whole || !kind || (name && values.known.has(whole)) || kind === "room") return values.filled(value);
  return { uuid: crypto.randomUUID(), ms: Date.now(), int: 7, text: `text ${name}`, any: "x" }[kind];
}
