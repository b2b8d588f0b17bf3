// One line of the log. What people wrote gets there as text, never as HTML.
import { HubbubError } from "@hubbub/client";
import { type RoomView, useClient } from "@hubbub/react";
import { type FocusEvent, type FormEvent, type KeyboardEvent, memo, useState } from "react";
import { Face } from "./face.tsx";
import { Bin, Pencil } from "./icons.tsx";
import type { DayLine, Line, MessageLine, NoticeLine, OutgoingLine } from "./lines.ts";
import type { Own } from "./memory.ts";
import { dayOf, fullTimeOf, timeOf } from "./words.ts";

/** Which of one's own messages is being changed, if any. */
export interface Changing {
  readonly key: string | undefined;
  readonly how: "edit" | "delete";
  /** Begins to change a message. */
  begin(key: string, how: "edit" | "delete"): void;
  /** Goes back to where one writes. */
  end(): void;
}

export interface Tools {
  room: RoomView;
  username: string;
  own: Own;
  changing: Changing;
}

export function LineView({ line, tools }: { line: Line; tools: Tools }) {
  if (line.kind === "outgoing") return <Sending line={line} tools={tools} />;
  if (line.kind === "beginning") return <p className="beginning">{line.text}</p>;
  if (line.kind !== "message") return line.kind === "day" ? <Day line={line} /> : <Told line={line} />;
  const { key, how, begin, end } = tools.changing;
  const changed = line.key === key ? how : undefined;
  return <Message line={line} room={tools.room.name} changed={changed} begin={begin} end={end} />;
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

interface MessageProps extends Pick<Changing, "begin" | "end"> {
  line: MessageLine;
  room: string;
  /** What is being done to it. */
  changed: "edit" | "delete" | undefined;
}

/** Lines are made anew whenever one comes; most of them are what they were. */
function isSame({ line: before, ...props }: MessageProps, { line: after, ...others }: MessageProps): boolean {
  return (
    before.event === after.event &&
    before.text === after.text &&
    before.own === after.own &&
    before.edited === after.edited &&
    before.deleted === after.deleted &&
    before.follows === after.follows &&
    props.room === others.room &&
    props.changed === others.changed &&
    props.begin === others.begin &&
    props.end === others.end
  );
}

const Message = memo(function Message({ line, room, changed, begin, end }: MessageProps) {
  const { key, event, text, own, edited, deleted, follows } = line;
  const className = `message${own ? " own" : ""}${follows ? " follows" : ""}${deleted ? " deleted" : ""}`;
  const may = own && !deleted;
  return (
    <article className={className}>
      {!own && !follows && <Face name={event.username} />}
      <p className="by">
        <bdi>{event.username}</bdi>
        <When timestamp={event.timestamp} />
        {edited && !deleted && <span className="edited">edited</span>}
      </p>
      {may && changed === "edit" ? (
        <EditForm line={line} room={room} end={end} remove={() => begin(key, "delete")} />
      ) : (
        <p className="text" dir="auto">
          {deleted ? "This message was deleted" : text}
        </p>
      )}
      {may && changed === "delete" && <DeleteForm line={line} room={room} end={end} />}
      {may && !changed && <Acts begin={(how) => begin(key, how)} />}
    </article>
  );
}, isSame);

function Acts({ begin }: { begin(how: "edit" | "delete"): void }) {
  return (
    <div className="acts">
      <button type="button" className="bare" aria-label="Edit" title="Edit" onClick={() => begin("edit")}>
        <Pencil />
      </button>
      <button type="button" className="bare" aria-label="Delete" title="Delete" onClick={() => begin("delete")}>
        <Bin />
      </button>
    </div>
  );
}

type Change = { type: "edit"; text: string } | { type: "delete" };

/** Changes a message on the server; whether that is under way, and why it could not be done. */
function useChange(room: string, { event }: MessageLine, end: () => void) {
  const client = useClient();
  const [{ busy, problem }, set] = useState({ busy: false, problem: "" });
  const target = { room, of: event.seq, epoch: event.epoch };
  const change = (fields: Change) => {
    if (busy) return;
    set({ busy: true, problem: "" });
    client.request({ ...target, ...fields }).then(end, (error: unknown) => {
      set({ busy: false, problem: error instanceof HubbubError ? error.message : String(error) });
    });
  };
  return { change, busy, problem };
}

interface FormProps {
  line: MessageLine;
  room: string;
  end(): void;
}

function EditForm({ line, room, end, remove }: FormProps & { remove(): void }) {
  const { change, busy, problem } = useChange(room, line, end);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget).get("text")).trim();
    if (!text) remove();
    else if (text === line.text) end();
    else change({ type: "edit", text });
  };
  const press = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key === "Escape") end();
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    event.currentTarget.form?.requestSubmit();
  };
  const toItsEnd = ({ currentTarget }: FocusEvent<HTMLTextAreaElement>) => {
    currentTarget.selectionStart = currentTarget.value.length;
  };
  return (
    <form className="change" onSubmit={submit}>
      <textarea
        name="text"
        aria-label="Edit message"
        defaultValue={line.text}
        maxLength={2000}
        rows={1}
        // biome-ignore lint/a11y/noAutofocus: whoever pressed Edit writes here
        autoFocus
        dir="auto"
        onFocus={toItsEnd}
        onKeyDown={press}
      />
      <div>
        <button type="submit" className="small main" disabled={busy}>
          Save
        </button>
        <button type="button" className="small" onClick={end}>
          Cancel
        </button>
      </div>
      {problem && <p role="alert">{problem}</p>}
    </form>
  );
}

function DeleteForm({ line, room, end }: FormProps) {
  const { change, busy, problem } = useChange(room, line, end);
  const press = (event: KeyboardEvent) => event.key === "Escape" && end();
  return (
    <fieldset className="change" aria-label="Delete this message for everybody?" onKeyDown={press}>
      <p>Delete this message for everybody?</p>
      <div>
        <button
          type="button"
          className="small main grave"
          // biome-ignore lint/a11y/noAutofocus: whoever pressed Delete is asked
          autoFocus
          disabled={busy}
          onClick={() => change({ type: "delete" })}
        >
          Delete
        </button>
        <button type="button" className="small" onClick={end}>
          Keep
        </button>
      </div>
      {problem && <p role="alert">{problem}</p>}
    </fieldset>
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
