// Where one writes. What is written and not sent is still there after a reload.
import { newMessageId } from "@hubbub/client";
import { type RoomView, useConnection } from "@hubbub/react";
import { type FormEvent, type KeyboardEvent, useEffect, useRef, useState } from "react";
import { load, loadOutgoing, type Own, save, saveOutgoing } from "./memory.ts";

const TYPING_EVERY_MS = 2000;
const LONGEST_TEXT = 2000;

export function Composer({ room, own }: { room: RoomView; own: Own }) {
  const { name, send, startTyping } = room;
  const { status, code } = useConnection();
  const [text, setText] = useState(() => load("tab", `draft.${name}`));
  const typedAt = useRef(Number.NEGATIVE_INFINITY);
  const box = useRef<HTMLTextAreaElement>(null);
  const mayWrite = status !== "closed" || code === undefined;

  useEffect(() => box.current?.focus({ preventScroll: true }), []);

  const write = (written: string) => {
    setText(written);
    save("tab", `draft.${name}`, written);
    if (!written.trim() || status !== "connected" || Date.now() - typedAt.current < TYPING_EVERY_MS) return;
    typedAt.current = Date.now();
    startTyping();
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const said = text.trim();
    if (!said || !mayWrite) return;
    const messageId = newMessageId();
    own.add(messageId);
    saveOutgoing(name, [...loadOutgoing(name), { messageId, text: said, state: "sending" }]); // before the draft goes
    write("");
    send(said, messageId).catch(() => {}); // it is shown where it stands
  };
  const press = (event: KeyboardEvent) => {
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) submit(event);
  };
  return (
    <form className="composer" onSubmit={submit}>
      <textarea
        ref={box}
        rows={1}
        value={text}
        maxLength={LONGEST_TEXT}
        aria-label="Message"
        placeholder="Message"
        autoComplete="off"
        enterKeyHint="send"
        dir="auto"
        onChange={({ target }) => write(target.value)}
        onKeyDown={press}
      />
      <button type="submit" className="main" disabled={!mayWrite}>
        Send
      </button>
    </form>
  );
}
