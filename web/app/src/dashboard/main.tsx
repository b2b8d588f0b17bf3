// The dashboard's page: over a WebSocket where one gets through, and over plain HTTP alone with `?transport=sse`.
import { addressOf, clientOf, mount } from "../mount.tsx";
import { Dashboard } from "./dashboard.tsx";
import { type BoardEvents, Feed } from "./feed.ts";

const overStream = new URLSearchParams(location.search).get("transport") === "sse";
const client = clientOf<BoardEvents>({ session: null, ...(overStream && { transports: ["stream"] }) });

const feed = new Feed(client, overStream ? addressOf("api/") : undefined);

mount(<Dashboard feed={feed} overStream={overStream} />, client as never);
