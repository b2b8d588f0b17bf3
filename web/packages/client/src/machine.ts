// The states of a connection, and what leads from one to the other, as a table. It does nothing else.

/**
 * connecting: a try is under way.
 * resuming: the server is there, and the rooms are being entered.
 * connected: all rooms are entered.
 * waiting: for the time of the next try.
 * offline: the same, while the device says that it has no network.
 * closed: nothing is tried any more.
 */
export type Status = "connecting" | "resuming" | "connected" | "waiting" | "offline" | "closed";

/**
 * open: a try begins.
 * greeted: the server has said `connected`.
 * entered: the last room was entered.
 * lost: the connection has ended, or the try; there will be another.
 * cut: the same, and the device has no network.
 * ended: there will be no other.
 */
export type Input = "open" | "greeted" | "entered" | "lost" | "cut" | "ended";

/** Where an input leads; what a state does not list changes nothing in it. */
export const TABLE: Record<Status, Partial<Record<Input, Status>>> = {
  closed: { open: "connecting" },
  connecting: { greeted: "resuming", lost: "waiting", cut: "offline", ended: "closed" },
  resuming: { entered: "connected", lost: "waiting", cut: "offline", ended: "closed" },
  connected: { greeted: "resuming", lost: "waiting", cut: "offline", ended: "closed" },
  waiting: { open: "connecting", cut: "offline", ended: "closed" },
  offline: { open: "connecting", ended: "closed" },
};
