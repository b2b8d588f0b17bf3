// Something that is there for as long as anybody wants it. StrictMode lets go and takes hold again in the same turn.

export class Hold {
  readonly #begin: () => void;
  readonly #end: () => void;
  #holders = 0;
  #begun = false;

  constructor(begin: () => void, end: () => void) {
    this.#begin = begin;
    this.#end = end;
  }

  /** Takes hold; returns what lets go. */
  take(): () => void {
    this.#holders++;
    if (!this.#begun) {
      this.#begun = true;
      this.#begin();
    }
    return () => {
      this.#holders--;
      queueMicrotask(() => this.#settle());
    };
  }

  #settle(): void {
    if (this.#holders || !this.#begun) return;
    this.#begun = false;
    this.#end();
  }
}
