/** The line to the live proxy: how the agent's page is, and pictures of it. Connects again by itself. */

import { reconnecting } from "asyouwere/helpers";
import { useEffect, useRef, useState } from "react";
import { token } from "../../signIn";
import { tell } from "./chat";

export interface Agent {
  busy: boolean;
  /** Why a message waits. */
  trouble: { code: string; text: string } | null;
  /** Of the session's snapshot that has what was read. */
  number: number;
  /** The proxy's token ends soon, or was refused. */
  token_wanted: boolean;
}

/** It is of no use to connect again. */
const FINAL = 1008;

/** For a session that the server knows. `agent`: null while there is no line. `say` is not heard then. */
export function useAgent(session: string | undefined, isWatching: boolean) {
  const [agent, setAgent] = useState<Agent | null>(null);
  const [picture, setPicture] = useState<string | null>(null);
  const line = useRef<WebSocket>(null);
  // What is not heard is not lost: messages are in the session.
  const say = (action: string, more: object = {}): void => {
    if (line.current?.readyState === WebSocket.OPEN) line.current.send(JSON.stringify({ action, ...more }));
  };

  useEffect(() => {
    if (!session) return;
    let tries = 0;
    const live = reconnecting(
      ({ opened, lost, signal }) => {
        const socket = (line.current = new WebSocket(`${location.origin.replace("http", "ws")}/live`));
        signal.onabort = () => socket.close();
        const hello = (refresh: boolean): void =>
          void token(refresh).then((token) => say("hello", { token, session, watch: isWatching }), lost);
        socket.onopen = () => hello(tries++ > 0); // the last one may have been refused
        socket.onclose = ({ code }) => (code === FINAL ? live.disconnect() : lost());
        socket.onmessage = ({ data }: MessageEvent<string | Blob>) => {
          if (typeof data !== "string") return setPicture(URL.createObjectURL(data));
          const told = JSON.parse(data) as Agent;
          if (told.number) tell(session, told.number);
          if (told.token_wanted) hello(true);
          if (!told.trouble) opened();
          setAgent(told);
        };
      },
      { changed: (connection) => connection === "connecting" && setAgent(null), timeout: 30_000 },
    );
    live.connect();
    return live.disconnect;
  }, [session, isWatching]);
  useEffect(() => () => void (picture && URL.revokeObjectURL(picture)), [picture]);
  return { agent, picture, say };
}
