/** What is typed and not sent yet. */

import { draftOf, type Draft } from "asyouwere/helpers";
import { useCallback, useEffect, useRef, useState } from "react";
import { FUNCTIONS_URL } from "./api";
import { cameFrom, token } from "./people";

const draftFor = (person: string, name: string): Draft => draftOf({ url: FUNCTIONS_URL, token, person }, name);

/** What is kept: this person's, or what they had typed as a guest before they signed in. */
async function find(draft: Draft, name: string): Promise<string> {
  const kept = await draft.read();
  const guest = cameFrom();
  if (kept || !guest) return kept;
  const guests = draftFor(guest, name);
  const brought = await guests.read();
  if (brought) {
    await draft.write(brought);
    await guests.write("");
  }
  guests.close();
  return brought;
}

/** A text that is kept for this tab under a name, through a reload and a crash, until it is "" again. */
export function useUnsent(person: string, name: string): [text: string, write: (text: string) => void] {
  const [text, setText] = useState("");
  const now = useRef("");
  const draft = useRef<Draft>(null);

  const show = useCallback((next: string): void => setText((now.current = next)), []);
  const write = useCallback(
    (next: string): void => {
      show(next);
      void draft.current?.write(next);
    },
    [show],
  );
  useEffect(() => {
    const mine = (draft.current = draftFor(person, name));
    let isGone = false;
    show("");
    void find(mine, name).then((kept) => {
      if (!kept || isGone) return;
      if (now.current) write(kept + now.current); // typed while it was looked for
      else show(kept);
    });
    return () => {
      isGone = true;
      mine.close();
    };
  }, [person, name, show, write]);
  return [text, write];
}
