// What was published and has no answer yet, in order. It decides what may be sent next, and sends nothing.
import { HubbubError } from "./errors.ts";
import type { Command, Receipt } from "./events.ts";

export interface Parcel {
  readonly room: string;
  readonly command: Command & { messageId: string };
  resolve(receipt: Receipt): void;
  reject(error: HubbubError): void;
}

/**
 * A bounded queue. In each room one parcel at a time is on its way, so that one that has to be sent again, because of
 * a lost connection or a rate, is not overtaken; rooms do not wait for each other.
 */
export class Outbox {
  readonly #longest: number;
  readonly #waiting: Parcel[] = [];
  readonly #flying = new Map<string, Parcel>();

  constructor(longest: number) {
    this.#longest = longest;
  }

  get size(): number {
    return this.#waiting.length + this.#flying.size;
  }

  /** Takes a command, and promises the server's answer to it. */
  add(room: string, command: Command & { messageId: string }): Promise<Receipt> {
    if (this.size >= this.#longest) {
      return Promise.reject(new HubbubError("queue_full", `${this.#longest} messages wait to be sent (queue)`));
    }
    return new Promise((resolve, reject) => this.#waiting.push({ room, command, resolve, reject }));
  }

  /** The next parcel that may go to one of these rooms; it is on its way then. */
  take(mayGo: (room: string) => boolean): Parcel | undefined {
    const index = this.#waiting.findIndex(({ room }) => !this.#flying.has(room) && mayGo(room));
    if (index < 0) return undefined;
    const [parcel] = this.#waiting.splice(index, 1) as [Parcel];
    this.#flying.set(parcel.room, parcel);
    return parcel;
  }

  /** A parcel has its answer. */
  done(parcel: Parcel): void {
    this.#flying.delete(parcel.room);
  }

  /** A parcel is to be sent again, before those behind it. */
  back(parcel: Parcel): void {
    this.done(parcel);
    this.#waiting.unshift(parcel);
  }

  /** An event shows that its parcel was kept, though nobody has said so: it does not go again. */
  seen(room: string, messageId: unknown, seq: number): void {
    const index = this.#waiting.findIndex((one) => one.room === room && one.command.messageId === messageId);
    const parcel = this.#waiting[index];
    if (!parcel) return;
    this.#waiting.splice(index, 1);
    parcel.resolve({ messageId: parcel.command.messageId, seq });
  }

  /** Gives up those for a room, or all. */
  clear(error: HubbubError, room?: string): void {
    const gone = this.#waiting.filter((parcel) => room === undefined || parcel.room === room);
    this.#waiting.splice(0, Infinity, ...this.#waiting.filter((parcel) => !gone.includes(parcel)));
    for (const parcel of gone) parcel.reject(error);
  }
}
