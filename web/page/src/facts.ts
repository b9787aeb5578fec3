/** What the list says of the session that is shown; asked for by itself, since a list may be filtered or short. */

import type { Sessions } from "asyouwere/react";
import { useEffect, useState } from "react";
import { api } from "./api";

type Listed = Sessions["sessions"][number];
export type Facts = Pick<Listed, "name" | "my_role">;

/** Name and role of a session; null until they are known. `sessions`: what a list says meanwhile. */
export function useFacts(session: string | null, sessions: readonly Listed[], isThere: boolean): Facts | null {
  const [asked, setAsked] = useState<(Facts & { id: string }) | null>(null);
  const listed = sessions.find((one) => one.id === session);
  useEffect(() => {
    if (listed) setAsked(listed);
    if (!session || listed || !isThere) return;
    let isGone = false;
    api.facts(session).then(
      (facts) => isGone || setAsked({ ...facts, id: session }),
      () => {}, // the session itself says what is wrong
    );
    return () => void (isGone = true);
  }, [session, listed, isThere]);
  return listed ?? (asked?.id === session ? asked : null);
}
