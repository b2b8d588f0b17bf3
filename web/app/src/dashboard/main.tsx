// The dashboard's page: over a WebSocket where one gets through, and over plain HTTP alone with `?transport=sse`.
import { clientOf, mount } from "../mount.tsx";
import { keptToken } from "../sign-in.tsx";
import { asking } from "./api.ts";
import { Dashboard } from "./dashboard.tsx";
import { type BoardEvents, Feed } from "./feed.ts";

const overStream = new URLSearchParams(location.search).get("transport") === "sse";
const token = keptToken();
const client = clientOf<BoardEvents>({
  session: null,
  ...(token && { token }),
  ...(overStream && { transports: ["stream"] }),
});

const feed = new Feed(client, asking(token));

mount(<Dashboard feed={feed} />, client as never);
