// The chat's page.
import { mountBare } from "../mount.tsx";
import { Chat } from "./chat.tsx";

mountBare(<Chat />);
