// Signing in, where the server asks who one is: whether it does, the token that the tab keeps, and the form for it.
import { useClient, useConnection } from "@hubbub/react";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { addressOf } from "./mount.tsx";
import { load, save } from "./storage.ts";

/** The token that was given last in this tab, on whichever page. */
export const keptToken = (): string => load("tab", "token");

/** Keeps a token; the session counts on where it is of the same user. */
export const keepToken = (token: string): void => save("tab", "token", token);

/**
 * Whether the server wants to know who one is, or does not take the token. A page is not told why it cannot connect: it
 * asks for something that whoever may come in may ask for. Who was in and lost the server tries to connect first.
 */
export function useSignInAsked(): boolean {
  const { status, code, attempt } = useConnection();
  const client = useClient();
  const [asked, setAsked] = useState(false);
  const wasIn = useRef(false);
  const connected = status === "connected" || status === "resuming";
  const failed = !connected && (code === 4401 || code === 1006) ? attempt : undefined;
  useEffect(() => {
    if (connected) setAsked(false);
    if (connected) wasIn.current = true;
  }, [connected]);
  useEffect(() => {
    if (failed === undefined) return;
    const lost = wasIn.current && code === 1006;
    wasIn.current = false;
    if (lost) return;
    const stop = new AbortController();
    const token = keptToken();
    const headers = new Headers(token ? { authorization: `Bearer ${token}` } : {});
    fetch(addressOf("api/rooms?limit=1"), { headers, signal: stop.signal }).then(
      ({ status }) => {
        setAsked(status === 401);
        if (status === 401) client.close(1000, "You were signed out"); // it would knock in vain
      },
      () => {},
    );
    return () => stop.abort();
  }, [client, failed, code]);
  return asked && !connected;
}

interface Props {
  onToken(token: string): void;
  /** What was wrong with the token before; empty where there was none. */
  refusal: string;
}

export function SignIn({ onToken, refusal }: Props) {
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
        {refusal}
      </p>
      <button type="submit" className="main">
        Sign in
      </button>
    </form>
  );
}

/** Its fields are read when it is sent: nothing depends on them before. */
export function field(event: FormEvent<HTMLFormElement>, name: string): string {
  event.preventDefault();
  return String(new FormData(event.currentTarget).get(name) ?? "").trim();
}
