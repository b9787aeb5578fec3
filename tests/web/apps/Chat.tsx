"use client";

// A chat as an app would write it, for Next.js and for Vite: with the package from a tarball.

import { open, type Session } from "asyouwere";
import { draftOf } from "asyouwere/helpers";
import { formatTimeAgo, useSessionPersistence, useSessions, useSnapshot } from "asyouwere/react";
import { useTurn } from "asyouwere/react/turns";
import { useEffect, useMemo, useState, type FormEvent } from "react";

export interface State {
  messages: { role: string; content: string }[];
}

export interface ChatProps {
  url: string;
  token: string;
  session: string;
  /** Has the answer made elsewhere; without it the page makes it. */
  ask?: string;
}

export function Chat({ url, token, session: id, ask }: ChatProps) {
  const [session, setSession] = useState<Session<State> | null>(null);
  useEffect(() => {
    const opened = open<State>({ url, token, session: id });
    setSession(opened);
    return () => void opened.close();
  }, [url, token, id]);

  const snapshot = useSnapshot(session);
  const { isSaving, lastSaved, waiting, error } = useSessionPersistence(session);
  const { shown, start } = useTurn(session);
  const { sessions } = useSessions({ url, token });

  const draft = useMemo(() => draftOf({ url, token }, id), [url, token, id]);
  const [text, setText] = useState("");
  useEffect(() => {
    void draft.read().then(setText);
    return draft.close;
  }, [draft]);

  const say = async (event: FormEvent) => {
    event.preventDefault();
    await draft.send(async (content) => session?.append("/messages", [{ role: "user", content }]));
    setText("");
  };
  const answer = async () => {
    if (ask) return void (await fetch(ask, { method: "POST", body: JSON.stringify({ url, token, session: id }) }));
    const running = await start();
    for (const word of ["Green", " or", " black?"]) running.write(word);
    await running.finish();
  };

  if (!snapshot?.status.isRestored) return <p role="status">{error ? error.message : "One moment …"}</p>;
  return (
    <main>
      <h1>{sessions.length} sessions</h1>
      <ol>
        {(snapshot.state.messages ?? []).map(({ role, content }, index) => (
          <li key={index} data-role={role}>
            {content}
          </li>
        ))}
      </ol>
      {shown !== null && <p>{shown}</p>}
      <form onSubmit={(event) => void say(event)}>
        <input
          aria-label="Message"
          value={text}
          onChange={({ target }) => {
            setText(target.value);
            void draft.write(target.value);
          }}
        />
        <button>Send</button>
      </form>
      <button onClick={() => void answer()}>Answer</button>
      <p role="status">{isSaving ? "Saving…" : waiting.changes ? `${waiting.changes} waiting` : `Saved ${formatTimeAgo(lastSaved)}`}</p>
    </main>
  );
}
