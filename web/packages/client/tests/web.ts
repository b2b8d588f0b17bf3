// A web whose servers are the test: requests wait here until they are answered, streams until they are written to.
import type { Options } from "../src/index.ts";
import { Stage } from "./stage.ts";

/** A request that waits for its answer. */
export class Asked {
  readonly url: URL;
  readonly #answer: (response: Response) => void;
  readonly #fail: (error: Error) => void;
  #stream: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(
    url: URL,
    readonly options: RequestInit,
    answer: (response: Response) => void,
    fail: (error: Error) => void,
  ) {
    this.url = url;
    this.#answer = answer;
    this.#fail = fail;
    options.signal?.addEventListener("abort", () => {
      this.fails("aborted");
      this.#stream?.error(new Error("aborted"));
    });
  }

  get path(): string {
    return decodeURIComponent(this.url.pathname);
  }

  get query(): Record<string, string> {
    return Object.fromEntries(this.url.searchParams);
  }

  get body(): Record<string, unknown> {
    return JSON.parse(String(this.options.body));
  }

  get headers(): Record<string, string> {
    return this.options.headers as never;
  }

  get aborted(): boolean {
    return this.options.signal?.aborted ?? false;
  }

  async answers(body: object | string | null, status = 200, headers: Record<string, string> = {}): Promise<void> {
    const text = body === null || typeof body === "string" ? body : JSON.stringify(body);
    this.#answer(new Response(text, { status, headers }));
    await settled();
  }

  async refuses(status: number, problem: object, headers = {}): Promise<void> {
    await this.answers({ title: "No", status, detail: "because", ...problem }, status, headers);
  }

  async fails(why = "fetch failed"): Promise<void> {
    this.#fail(new TypeError(why));
    await settled();
  }

  /** Answers with a stream of Server-Sent Events, which goes on with these. */
  async streams(...events: object[]): Promise<void> {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#stream = controller;
      },
    });
    this.#answer(new Response(body, { headers: { "content-type": "text/event-stream" } }));
    await this.writes(...events);
  }

  async writes(...events: object[]): Promise<void> {
    await this.bytes(events.map((event) => `event: x\ndata: ${JSON.stringify(event)}\nid: 1\n\n`).join(""));
  }

  async bytes(text: string): Promise<void> {
    this.#stream?.enqueue(new TextEncoder().encode(text));
    await settled();
  }

  async ends(): Promise<void> {
    this.#stream?.close();
    await settled();
  }
}

/** Lets what was promised be heard of, modules be loaded and streams be read. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
}

/** A stage with a web. */
export class WebStage extends Stage {
  readonly asked: Asked[];

  private constructor(asked: Asked[], options: Options) {
    super(options);
    this.asked = asked;
  }

  static async make(options: Options): Promise<WebStage> {
    await import("../src/http.ts");
    const asked: Asked[] = [];
    const web = (url: URL, given: RequestInit) =>
      new Promise<Response>((answer, fail) => asked.push(new Asked(url, given, answer, fail)));
    const stage = new WebStage(asked, { fetch: web as never, ...options });
    await settled();
    return stage;
  }

  /** The requests since the last call that were not taken back. */
  take(): Asked[] {
    return this.asked.splice(0, Infinity).filter(({ aborted }) => !aborted);
  }

  async one(): Promise<Asked> {
    await settled();
    const [asked, ...more] = this.take();
    if (!asked || more.length) throw new Error(`not one request but ${[asked, ...more].map((one) => one?.url.href)}`);
    return asked;
  }

  async pass(ms: number): Promise<void> {
    this.clock.pass(ms);
    await settled();
  }
}
