// One line of the log. What people wrote gets there as text, never as HTML.
import { HubbubError } from "@hubbub/client";
import { type RoomView, useClient } from "@hubbub/react";
import { type FormEvent, type KeyboardEvent, memo, useState } from "react";
import { Bin, Pencil } from "./icons.tsx";
import type { DayLine, Line, MessageLine, NoticeLine, OutgoingLine } from "./lines.ts";
import type { Own } from "./memory.ts";
import { dayOf, fullTimeOf, timeOf } from "./words.ts";

export interface Tools {
  room: RoomView;
  username: string;
  own: Own;
}

export function LineView({ line, tools }: { line: Line; tools: Tools }) {
  if (line.kind === "message") return <Message line={line} room={tools.room.name} />;
  if (line.kind === "outgoing") return <Sending line={line} tools={tools} />;
  return line.kind === "day" ? <Day line={line} /> : <Told line={line} />;
}

function When({ timestamp }: { timestamp: number }) {
  return (
    <time dateTime={new Date(timestamp).toISOString()} title={fullTimeOf(timestamp)}>
      {timeOf(timestamp)}
    </time>
  );
}

function Day({ line: { timestamp } }: { line: DayLine }) {
  return (
    <div className="day">
      <span>{dayOf(timestamp, Date.now())}</span>
    </div>
  );
}

function Told({ line: { text, timestamp } }: { line: NoticeLine }) {
  return (
    <div className="notice">
      <p dir="auto">{text}</p>
      {timestamp !== undefined && <When timestamp={timestamp} />}
    </div>
  );
}

const Message = memo(function Message({ line, room }: { line: MessageLine; room: string }) {
  const { event, text, own, edited, deleted, follows } = line;
  const [editing, setEditing] = useState(false);
  const className = `message${own ? " own" : ""}${follows ? " follows" : ""}${deleted ? " deleted" : ""}`;
  return (
    <article className={className}>
      <p className="by">
        <bdi>{event.username}</bdi>
        <When timestamp={event.timestamp} />
        {edited && <span className="edited">edited</span>}
      </p>
      {editing ? (
        <EditForm line={line} room={room} done={() => setEditing(false)} />
      ) : (
        <p className="text" dir="auto">
          {deleted ? "This message was deleted" : text}
        </p>
      )}
      {own && !deleted && !editing && <Acts line={line} room={room} edit={() => setEditing(true)} />}
    </article>
  );
});

/** Edits or deletes a message; returns why it cannot be done. */
function useChange(room: string, { event }: MessageLine): (fields: { type: string; text?: string }) => Promise<string> {
  const client = useClient();
  const target = { room, of: event.seq, epoch: event.epoch };
  return (fields) =>
    client.request({ ...target, ...fields }).then(
      () => "",
      (error) => (error instanceof HubbubError ? error.message : String(error)),
    );
}

function Acts({ line, room, edit }: { line: MessageLine; room: string; edit(): void }) {
  const change = useChange(room, line);
  const [problem, setProblem] = useState("");
  return (
    <div className="acts">
      {problem && <span role="alert">{problem}</span>}
      <button type="button" className="bare" aria-label="Edit" title="Edit" onClick={edit}>
        <Pencil />
      </button>
      <button
        type="button"
        className="bare"
        aria-label="Delete"
        title="Delete"
        onClick={() => change({ type: "delete" }).then(setProblem)}
      >
        <Bin />
      </button>
    </div>
  );
}

function EditForm({ line, room, done }: { line: MessageLine; room: string; done(): void }) {
  const change = useChange(room, line);
  const [problem, setProblem] = useState("");
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget).get("text")).trim();
    if (!text || text === line.text) return done();
    const why = await change({ type: "edit", text });
    if (why) setProblem(why);
    else done();
  };
  const press = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key === "Escape") return done();
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    event.currentTarget.form?.requestSubmit();
  };
  return (
    <form className="edit" onSubmit={submit}>
      <textarea
        name="text"
        aria-label="Edit message"
        defaultValue={line.text}
        maxLength={2000}
        rows={1}
        // biome-ignore lint/a11y/noAutofocus: whoever pressed Edit writes here
        autoFocus
        onKeyDown={press}
      />
      {problem && <p role="alert">{problem}</p>}
      <div>
        <button type="submit" className="small main">
          Save
        </button>
        <button type="button" className="small" onClick={done}>
          Cancel
        </button>
      </div>
    </form>
  );
}

function Sending({ line: { outgoing }, tools }: { line: OutgoingLine; tools: Tools }) {
  const { messageId, text, state, error } = outgoing;
  const { room, username, own } = tools;
  const retry = () =>
    room.retry(messageId).then(
      ({ seq }) => own.kept(messageId, seq),
      () => {}, // it is shown where it stands
    );
  return (
    <article className={`message own sending ${state}`}>
      <p className="by">
        <bdi>{username}</bdi>
        <span className="state">{state === "failed" ? "Not sent" : state === "sent" ? "Sent" : "Sending…"}</span>
      </p>
      <p className="text" dir="auto">
        {text}
      </p>
      {state === "failed" && (
        <div className="failure">
          <span role="alert">{error?.message}</span>
          <button type="button" className="small" onClick={retry}>
            Send again
          </button>
          <button type="button" className="small" onClick={() => room.discard(messageId)}>
            Discard
          </button>
        </div>
      )}
    </article>
  );
}
