// The dashboard: a first sketch, until it is built.
import { useConnection } from "@hubbub/react";

export function Dashboard() {
  const { status, latencyMs } = useConnection();
  return <main role="status">{`${status}${latencyMs === undefined ? "" : `, ${latencyMs} ms`}`}</main>;
}
