// The HTTP API, for what is asked where there is no WebSocket.
import { addressOf } from "../mount.tsx";

/** How often something is asked again when the server says that it was too much. */
const MOST_TRIES = 5;

/** Asks for a path below `api/`, or posts a body there. */
export type Ask = (path: string, body?: object) => Promise<unknown>;

/** token: shows who asks; empty where nobody is to be shown. */
export function asking(token: string): Ask {
  const credentials = token ? { authorization: `Bearer ${token}` } : undefined;
  return async (path, body) => {
    const request = body && { method: "POST", body: JSON.stringify(body) };
    const headers = { ...credentials, ...(body && { "content-type": "application/json" }) };
    for (let left = MOST_TRIES; ; left--) {
      const answer = await fetch(addressOf(`api/${path}`), { ...request, headers });
      const told = await answer.json().catch(() => ({}));
      if (answer.ok) return told;
      const wait = answer.status === 429 && left > 1 ? Number(answer.headers.get("retry-after")) : 0;
      if (!wait) throw new Error(told.detail ?? `The server answers with ${answer.status}`);
      await new Promise((go) => setTimeout(go, wait * 1000));
    }
  };
}
