// Notifications, for as long as nobody looks at the page; browsers have them on pages that came over TLS only.
import { useState } from "react";
import { hrefOf } from "./address.ts";

const LONGEST = 140;

export const mayNotify = typeof Notification !== "undefined" && isSecureContext;

export function useNotifying(): [NotificationPermission, () => void] {
  const [permission, setPermission] = useState(mayNotify ? Notification.permission : "denied");
  return [permission, () => void Notification.requestPermission().then(setPermission)];
}

/** Tells of a message, if nobody looks; the next one of the room takes its place. */
export function notify(room: string, username: string, text: string): void {
  if (!document.hidden || !mayNotify || Notification.permission !== "granted") return;
  const notification = made(room, { body: `${username}: ${text.slice(0, LONGEST)}`, tag: `hubbub ${room}` });
  if (!notification) return;
  notification.onclick = () => {
    focus();
    location.hash = hrefOf(room);
    notification.close();
  };
}

/** None where only service workers may tell something, as in Chrome on Android: that is known by trying alone. */
function made(title: string, options: NotificationOptions): Notification | undefined {
  try {
    return new Notification(title, options);
  } catch {
    return undefined;
  }
}
