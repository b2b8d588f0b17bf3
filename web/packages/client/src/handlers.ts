// Who is called with which events.
import type { AnyEvent } from "./events.ts";

type Handler = (event: never) => void;

export class Handlers {
  #handlers = new Map<string, Set<Handler>>();

  /** Adds a handler, and returns what takes it away. */
  on(type: string, handler: Handler): () => void {
    const those = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, those.add(handler));
    return () => void those.delete(handler);
  }

  emit(event: AnyEvent, types = [event.type, "*"]): void {
    for (const type of types) for (const handler of [...(this.#handlers.get(type) ?? [])]) call(handler, event);
  }
}

/** Calls somebody's code: what fails there does not keep others from what they wait for. */
export function call<Argument>(handler: (argument: never) => void, argument: Argument): void {
  try {
    (handler as (argument: Argument) => void)(argument);
  } catch (error) {
    console.error(error);
  }
}
