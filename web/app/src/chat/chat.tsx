// The chat: signing in, coming in, and the rooms that one is in.
import { HubbubProvider, useClient, useConnection } from "@hubbub/react";
import { useEffect, useState } from "react";
import { addressOf } from "../mount.tsx";
import { keepToken, keptToken, useSignInAsked } from "../sign-in.tsx";
import { clean, hrefOf, LONGEST_NAME, LONGEST_ROOM, useAddress } from "./address.ts";
import { Desk } from "./desk.tsx";
import { Entrance } from "./entrance.tsx";
import { forget, giveUp, giveUpAll, load, loadRooms, save, saveRooms, withRoom } from "./memory.ts";

/** The page; whenever somebody signs in or out it begins anew. */
export function Chat() {
  const [{ token, visit }, setToken] = useState(() => ({ token: keptToken(), visit: 0 }));
  const begin = (given: string) => {
    keepToken(given);
    setToken({ token: given, visit: visit + 1 });
  };
  const signIn = (given: string) => {
    giveUpAll("You were signed out before it was sent"); // it may be somebody else who is here now
    begin(given);
  };
  const signOut = () => {
    forget();
    begin("");
  };
  const options = { url: addressOf("ws"), session: load("tab", "session"), ...(token && { token }) };
  return (
    <HubbubProvider key={visit} options={options}>
      <Visitor signIn={signIn} signOut={token ? signOut : undefined} />
    </HubbubProvider>
  );
}

/** Keeps the session, so that the tab is the same client after a reload. */
function useKeptSession(): void {
  const client = useClient();
  useEffect(
    () => client.watch(() => client.state.session !== null && save("tab", "session", client.state.session)),
    [client],
  );
}

interface VisitorProps {
  signIn(token: string): void;
  signOut: (() => void) | undefined;
}

const NO_REFUSAL = { at: "", why: "" };

/** The rooms that one is in, the one that the address names among them, and under which name. */
function useRooms(address: string) {
  const [rooms, setRooms] = useState<readonly string[]>(() => loadRooms("tab"));
  const [name, setName] = useState(() => (rooms.length ? load("tab", "name") : ""));
  /** Why there is a room that one cannot enter, and where that is told: who goes elsewhere has read it. */
  const [refusal, setRefusal] = useState(NO_REFUSAL);
  const refused = refusal.at === address ? refusal.why : "";
  useEffect(() => saveRooms("tab", rooms), [rooms]);

  if (refusal.why && !refused) setRefusal(NO_REFUSAL);
  if (name && !refused && address && !rooms.includes(address)) setRooms(withRoom(rooms, address));

  const enter = (given: string, room: string) => {
    setRefusal(NO_REFUSAL);
    setName(given);
    save("tab", "name", given);
    save("browser", "name", given);
    setRooms(withRoom(rooms, room));
    if (room !== address) location.hash = hrefOf(room);
  };
  const leave = (room: string) => {
    giveUp(room, "You left before it was sent");
    const left = rooms.filter((other) => other !== room);
    setRooms(left);
    if (room === address && left.length) location.hash = hrefOf(left.at(-1) as string);
    if (!left.length) leaveAll();
  };
  const leaveAll = () => {
    for (const room of rooms) giveUp(room, "You left before it was sent");
    setName("");
    setRooms([]);
  };
  /** Who is in other rooms stays there, and is told. */
  const refuse = (room: string, why: string) => {
    giveUp(room, why);
    const left = rooms.filter((other) => other !== room);
    const at = room === address ? (left.at(-1) ?? room) : address;
    setRooms((all) => all.filter((other) => other !== room));
    setRefusal({ at, why: left.length ? `${room}: ${why}` : why });
    if (at !== address) location.hash = hrefOf(at);
  };
  return { rooms, name, refused, enter, leave, leaveAll, refuse };
}

/** Who looks at the page: outside, or in rooms. */
function Visitor({ signIn, signOut }: VisitorProps) {
  const address = useAddress();
  const { user } = useConnection();
  const { rooms, name, refused, enter, leave, leaveAll, refuse } = useRooms(address);
  const asked = useSignInAsked();
  useKeptSession();
  if (asked || !name || !address || !rooms.includes(address))
    return (
      <Entrance
        room={address}
        refusal={refused}
        onEnter={(given, room) => enter(clean(given, LONGEST_NAME), clean(room, LONGEST_ROOM))}
        asked={asked}
        onToken={signIn}
        onSignOut={signOut}
      />
    );
  return (
    <Desk
      name={user?.name ?? name}
      rooms={rooms}
      room={address}
      leave={leave}
      leaveAll={leaveAll}
      refuse={refuse}
      refused={refused}
      signOut={signOut}
    />
  );
}
