// The entrance: a name and a room, and a token where the server asks who one is.
import { useClient, useConnection } from "@hubbub/react";
import { type FormEvent, useEffect, useState } from "react";
import icon from "../icon.svg";
import { addressOf } from "../mount.tsx";
import { ConnectionState } from "./connection.tsx";
import { load } from "./memory.ts";

/**
 * Whether the server wants to know who one is. A page is not told why it cannot connect: it asks where tickets are had.
 */
export function useSignInAsked(token: string): boolean {
  const { status, code, attempt, user } = useConnection();
  const client = useClient();
  const [asked, setAsked] = useState(false);
  const failed = code === 4401 || (!user && attempt === 1 && code === 1006 && status !== "connected");
  useEffect(() => {
    if (!failed) return;
    const stop = new AbortController();
    const headers = token ? { authorization: `Bearer ${token}` } : undefined;
    fetch(addressOf("api/ticket"), { method: "POST", signal: stop.signal, ...(headers && { headers }) }).then(
      ({ status }) => {
        setAsked(status === 401);
        if (status === 401) client.close(1000, "You were signed out"); // it would knock in vain
      },
      () => {},
    );
    return () => stop.abort();
  }, [client, failed, token]);
  return asked && status !== "connected" && status !== "resuming";
}

export interface EntranceProps {
  room: string;
  refusal: string;
  /** The server asks who one is. */
  asked: boolean;
  onEnter(name: string, room: string): void;
  onToken(token: string): void;
  onSignOut?: (() => void) | undefined;
}

export function Entrance({ room, refusal, asked, onEnter, onToken, onSignOut }: EntranceProps) {
  const { user } = useConnection();
  useEffect(() => {
    document.title = "Hubbub";
  }, []);
  return (
    <main className="entrance">
      <div className="card">
        <h1>
          <img src={icon} alt="" width="40" height="40" />
          Hubbub
        </h1>
        {asked ? (
          <SignIn onToken={onToken} again={onSignOut !== undefined} />
        ) : (
          <EnterForm key={room} room={room} refusal={refusal} user={user?.name} onEnter={onEnter} />
        )}
        {user && onSignOut && (
          <button type="button" className="quiet" onClick={onSignOut}>
            Sign out
          </button>
        )}
        {!asked && <ConnectionState joined={true} />}
      </div>
    </main>
  );
}

/** Its fields are read when it is sent: nothing depends on them before. */
function field(event: FormEvent<HTMLFormElement>, name: string): string {
  event.preventDefault();
  return String(new FormData(event.currentTarget).get(name) ?? "").trim();
}

type EnterFormProps = Pick<EntranceProps, "room" | "refusal" | "onEnter"> & { user: string | undefined };

function EnterForm({ room, refusal, user, onEnter }: EnterFormProps) {
  const name = user ?? (load("tab", "name") || load("browser", "name"));
  const submit = (event: FormEvent<HTMLFormElement>) => {
    const given = user ?? field(event, "name");
    const wanted = field(event, "room");
    if (given && wanted) onEnter(given, wanted);
  };
  return (
    <form onSubmit={submit}>
      <p className="soft">
        {user ? `You are signed in as ${user}. Pick a room.` : "Pick a name and a room."} Whoever opens the same room is
        in it with you.
      </p>
      {user === undefined && (
        <>
          <label htmlFor="name">Your name</label>
          <input
            id="name"
            name="name"
            maxLength={30}
            required
            defaultValue={name}
            // biome-ignore lint/a11y/noAutofocus: the page is this form
            autoFocus={!name}
            autoComplete="nickname"
            spellCheck={false}
          />
        </>
      )}
      <label htmlFor="room">Room</label>
      <input
        id="room"
        name="room"
        maxLength={50}
        required
        defaultValue={room || "lobby"}
        // biome-ignore lint/a11y/noAutofocus: the page is this form
        autoFocus={name !== ""}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
      />
      <p className="refusal" role="alert">
        {refusal}
      </p>
      <button type="submit" className="main">
        Enter
      </button>
    </form>
  );
}

function SignIn({ onToken, again }: { onToken(token: string): void; again: boolean }) {
  const submit = (event: FormEvent<HTMLFormElement>) => {
    const token = field(event, "token");
    if (token) onToken(token);
  };
  return (
    <form onSubmit={submit}>
      <p className="soft">This server asks who you are. Sign in with the token that you were given.</p>
      <label htmlFor="token">Token</label>
      <input
        id="token"
        name="token"
        type="password"
        required
        pattern="[\w.~\-]+"
        title="The token, in one piece"
        // biome-ignore lint/a11y/noAutofocus: the page is this form
        autoFocus
        autoComplete="off"
      />
      <p className="refusal" role="alert">
        {again && "The server does not take the token that was given; it may have ended."}
      </p>
      <button type="submit" className="main">
        Sign in
      </button>
    </form>
  );
}
