// The chat's page.
import { mount } from "../mount.tsx";
import { Chat } from "./chat.tsx";

mount(<Chat />);
