// The entrance: a name and a room, and a token where the server asks who one is.
import { useConnection } from "@hubbub/react";
import { type FormEvent, useEffect } from "react";
import icon from "../icon.svg";
import { field, SignIn } from "../sign-in.tsx";
import { ConnectionState } from "./connection.tsx";
import { load } from "./memory.ts";

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
          <SignIn
            onToken={onToken}
            refusal={onSignOut ? "The server does not take the token that was given; it may have ended." : ""}
          />
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
