// Hooks in StrictMode, below a provider whose clock and sockets are the test's.
import { act, render } from "@testing-library/react";
import { type ReactNode, StrictMode, useLayoutEffect } from "react";
import { onTestFinished } from "vitest";
import type { Options } from "../../client/src/index.ts";
import { FakeClock, FakeSocket, FakeSurroundings, info } from "../../client/tests/stage.ts";
import { HubbubProvider } from "../src/index.ts";

interface HookProps<Result, Props> {
  hook: (props: Props) => Result;
  props: Props;
  result: { current: Result };
}

function Hook<Result, Props>({ hook, props, result }: HookProps<Result, Props>): ReactNode {
  const returned = hook(props);
  useLayoutEffect(() => {
    result.current = returned;
  });
  return null;
}

const FRAME_MS = 16;

export class Page {
  readonly clock = new FakeClock();
  readonly surroundings = new FakeSurroundings();
  readonly sockets: FakeSocket[] = [];
  readonly WebSocket: new (
    url: string,
    protocols: string[],
  ) => FakeSocket;
  readonly #more: Options;
  random = 0;

  constructor(more: Options = {}) {
    this.#more = more;
    const { sockets } = this;
    this.WebSocket = class extends FakeSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        sockets.push(this);
      }
    };
  }

  get options() {
    const { clock, surroundings, WebSocket } = this;
    return { url: "ws://hub.test/ws", random: () => this.random, ...{ clock, surroundings, WebSocket }, ...this.#more };
  }

  get socket(): FakeSocket {
    return this.sockets.at(-1) as FakeSocket;
  }

  /** Shows components below a provider. StrictMode is around all, as it does nothing where it is not. */
  show(ui: ReactNode) {
    const around = (ui: ReactNode) => (
      <StrictMode>
        <HubbubProvider options={this.options}>{ui}</HubbubProvider>
      </StrictMode>
    );
    const { container, rerender, unmount } = render(around(ui));
    return { container, rerender: (ui: ReactNode) => rerender(around(ui)), unmount };
  }

  /** A hook, and what it returned last. */
  hook<Result, Props = undefined>(hook: (props: Props) => Result, initial?: NoInfer<Props>) {
    const result = { current: undefined as Result };
    const { rerender, unmount } = this.show(<Hook {...{ hook, result }} props={initial as Props} />);
    return { result, rerender: (props: Props) => rerender(<Hook {...{ hook, result, props }} />), unmount };
  }

  /** The server says something, and a frame goes by. */
  says(...events: object[]): void {
    act(() => this.socket.says(...events));
    this.frame();
  }

  frame(): void {
    this.pass(FRAME_MS);
  }

  /** The server greets, and lets into the rooms that are asked for. */
  enter(fields: object = {}): this {
    act(() => {
      this.socket.greet();
      for (const { room, id } of this.socket.take()) this.socket.says({ ...info(room as string, fields), id });
    });
    return this;
  }

  ends(code?: number): void {
    act(() => this.socket.ends(code));
  }

  pass(ms: number): void {
    act(() => this.clock.pass(ms));
  }
}

/** What is settled now is heard of. */
export const settle = () => act(async () => {});

/** Catches what is printed as an error, which no other test may have. */
export function printed(): unknown[][] {
  const lines: unknown[][] = [];
  const { error } = console;
  console.error = (...line) => void lines.push(line);
  onTestFinished(() => {
    console.error = error;
  });
  return lines;
}
