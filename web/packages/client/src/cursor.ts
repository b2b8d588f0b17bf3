// Where the client is in one room's log, and so which events are new to it. Pure: it holds no socket and no clock.
import type { AnyEvent, Gap, Position, RoomInfo, Since } from "./events.ts";

export class Cursor {
  /** The last position that was reached; undefined before the room was entered for the first time. */
  position: Position | undefined;
  /** The seq up to which all was acknowledged, here or on another connection. */
  acked: number | undefined;
  /** The seq up to which the application has acknowledged all; the server may not know it yet. */
  read = 0;

  /** It begins where an earlier page has been, if that is known. */
  constructor(since?: Since) {
    if (since instanceof Object && "epoch" in since) this.position = { ...since };
  }

  /**
   * Enters the room, and passes on in order: a `gap` if something was missed, the `room_info`, and what it brought.
   */
  enter(info: RoomInfo, emit: (event: AnyEvent) => void): void {
    const { room, epoch, messages } = info;
    if (info.recovered !== true || !this.position) {
      const missed = this.position && info.recovered === false;
      this.#move({ epoch, seq: (messages[0]?.seq ?? info.seq + 1) - 1 });
      if (missed) emit({ type: "gap", room, epoch, seq: this.position?.seq as number } satisfies Gap);
    }
    if (info.acked !== undefined) this.acked = Math.max(info.acked, this.acked ?? 0);
    emit({ ...info });
    for (const event of messages) if (this.take(event)) emit(event);
    this.position = { epoch, seq: Math.max(info.seq, this.position?.seq ?? 0) };
  }

  /** Goes to where the server says; numbers of another epoch mean nothing there. */
  #move(position: Position): void {
    if (this.position?.epoch !== position.epoch) {
      this.acked = undefined;
      this.read = 0;
    }
    this.position = position;
  }

  /** Takes an event of the room, and says whether it is new. */
  take(event: AnyEvent): boolean {
    const { seq } = event;
    if (event.type === "gap") this.#move({ epoch: String(event.epoch), seq: Number(seq) });
    else if (seq !== undefined && event.type !== "seen") {
      if (!this.position || seq <= this.position.seq) return false;
      this.position = { epoch: this.position.epoch, seq };
    }
    return true;
  }
}
