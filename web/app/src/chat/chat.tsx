// The chat: a first sketch, one room, until it is built.
import { useConnection, useRoom } from "@hubbub/react";
import { type FormEvent, useState } from "react";

export function Chat() {
  const { status } = useConnection();
  const { events, members, typing, outgoing, send, startTyping } = useRoom("lobby", { username: "guest" });
  const [text, setText] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    send(text);
    setText("");
  };
  return (
    <main>
      <p role="status">{status}</p>
      <ol role="log">
        {events.map((event) => (
          <li key={`${event.epoch}.${event.seq}`}>
            {event.type === "message" ? `${event.username}: ${event.text}` : event.type}
          </li>
        ))}
        {outgoing.map(({ messageId, text, state }) => (
          <li key={messageId}>{`${text} (${state})`}</li>
        ))}
      </ol>
      <p>{`${members.join(", ")} ${typing.length ? `${typing.join(", ")} …` : ""}`}</p>
      <form onSubmit={submit}>
        <input aria-label="Message" value={text} onInput={startTyping} onChange={(e) => setText(e.target.value)} />
        <button type="submit">Send</button>
      </form>
    </main>
  );
}
