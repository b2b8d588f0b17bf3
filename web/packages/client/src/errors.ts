// What a promise of the client is rejected with.

/**
 * A command that was refused, or that cannot be sent.
 *
 * code: of protocol/PROTOCOL.md, the application's own, or one of the client: `disconnected` (the connection ended before
 *   there was an answer, or there is none), `queue_full`, `left` (the room was left) and `gone` (the client is closed).
 */
export class HubbubError extends Error {
  override readonly name = "HubbubError";
  readonly code: string;
  readonly retryAfter: number | undefined;
  readonly correlationId: string | undefined;

  constructor(code: string, message: string, more: { retryAfter?: number; correlationId?: string } = {}) {
    super(message);
    this.code = code;
    this.retryAfter = more.retryAfter;
    this.correlationId = more.correlationId;
  }
}
