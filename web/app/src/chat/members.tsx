// Who is in the room.
import { useClient, useConnection, useEvent, useRoom } from "@hubbub/react";
import { useState } from "react";
import { Face } from "./face.tsx";

/** Members that are listed by name, as in `room_info`. */
const MOST_MEMBERS = 200;

/** The names behind a count, where there are few enough to ask for them; undefined where the room knows better. */
function useAsked(room: string): string[] | undefined {
  const client = useClient();
  const [asked, setAsked] = useState<string[]>();
  useEvent(
    "member_count",
    ({ memberCount }) => {
      if (memberCount > MOST_MEMBERS) return;
      const reply = client.request({ type: "presence", room, limit: MOST_MEMBERS });
      reply.then(({ members }) => setAsked(members as string[])).catch(() => {});
    },
    room,
  );
  const forget = () => setAsked(undefined);
  useEvent("room_info", forget, room);
  useEvent("user_joined", forget, room);
  useEvent("user_left", forget, room);
  return asked;
}

export function Members({ room, name }: { room: string; name: string }) {
  const { status } = useConnection();
  const { members, memberCount, typing, status: entry } = useRoom(room, { username: name });
  const asked = useAsked(room);
  const here = status === "connected" && entry === "entered";
  const many = memberCount > MOST_MEMBERS && members.length < MOST_MEMBERS;
  const listed = here ? (asked ?? (many ? [name] : members)) : [];
  const others = here ? memberCount - listed.length : 0;
  const keys = new Map<string, number>();
  const keyed = listed.map((member) => {
    keys.set(member, (keys.get(member) ?? 0) + 1);
    return { member, key: `${keys.get(member)} ${member}` };
  });
  return (
    <section className="members" aria-labelledby="members-title">
      <h2 id="members-title">
        Here <span className="count">{here ? memberCount : ""}</span>
      </h2>
      <ul>
        {keyed.map(({ member, key }) => (
          <li key={key} className={typing.includes(member) ? "types" : ""} dir="auto">
            <Face name={member} />
            <bdi>{member}</bdi>
          </li>
        ))}
        {others > 0 && <li className="more">{`and ${others} more`}</li>}
      </ul>
    </section>
  );
}
