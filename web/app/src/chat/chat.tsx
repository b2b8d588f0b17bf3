// The chat: signing in, coming in, and the rooms that one is in.
import { HubbubProvider, useClient, useConnection } from "@hubbub/react";
import { useEffect, useState } from "react";
import { addressOf } from "../mount.tsx";
import { clean, hrefOf, LONGEST_NAME, LONGEST_ROOM, useAddress } from "./address.ts";
import { Desk } from "./desk.tsx";
import { Entrance } from "./entrance.tsx";
import { load, loadRooms, save, saveRooms, withRoom } from "./memory.ts";

/** The page; with another token it begins anew. */
export function Chat() {
  const [token, setToken] = useState(() => load("tab", "token"));
  const signIn = (given: string) => {
    save("tab", "token", given);
    save("tab", "session", "");
    setToken(given);
  };
  const options = { url: addressOf("ws"), session: load("tab", "session"), ...(token && { token }) };
  return (
    <HubbubProvider key={token} options={options}>
      <Visitor signIn={signIn} signedIn={token !== ""} />
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

/** Who looks at the page: outside, or in rooms. */
function Visitor({ signIn, signedIn }: { signIn: (token: string) => void; signedIn: boolean }) {
  const address = useAddress();
  const { user } = useConnection();
  const [rooms, setRooms] = useState<readonly string[]>(() => loadRooms("tab"));
  const [name, setName] = useState(() => (rooms.length ? load("tab", "name") : ""));
  const [refusal, setRefusal] = useState("");
  useKeptSession();
  useEffect(() => saveRooms("tab", rooms), [rooms]);

  if (name && !refusal && address && !rooms.includes(address)) setRooms(withRoom(rooms, address));

  const enter = (given: string, room: string) => {
    setRefusal("");
    setName(given);
    save("tab", "name", given);
    save("browser", "name", given);
    setRooms(withRoom(rooms, room));
    if (room !== address) location.hash = hrefOf(room);
  };
  const leave = (room: string) => {
    const left = rooms.filter((other) => other !== room);
    setRooms(left);
    if (room === address && left.length) location.hash = hrefOf(left.at(-1) as string);
    if (!left.length) leaveAll();
  };
  const leaveAll = () => {
    setName("");
    setRooms([]);
  };
  const refuse = (room: string, why: string) => {
    setRooms(rooms.filter((other) => other !== room));
    if (room === address) setRefusal(why);
  };

  if (!name || refusal || !address)
    return (
      <Entrance
        room={address}
        refusal={refusal}
        onEnter={(given, room) => enter(clean(given, LONGEST_NAME), clean(room, LONGEST_ROOM))}
        onToken={signIn}
        onSignOut={signedIn ? () => signIn("") : undefined}
      />
    );
  return (
    <Desk name={user?.name ?? name} rooms={rooms} room={address} leave={leave} leaveAll={leaveAll} refuse={refuse} />
  );
}
