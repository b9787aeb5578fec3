/** The line to the live proxy: what the agent's page is like, and pictures of it. Connects again by itself. */

import type { Transport } from "asyouwere";
import { token } from "../../signIn";

export interface Agent {
  stage: "connecting" | "opening" | "sending" | "answering" | "ready" | "trouble";
  upstream: { url: string } | null;
  /** Why a message waits. */
  trouble: { code: string; text: string } | null;
  number: number;
  /** Grows when the proxy needs a new token. */
  tokens_wanted: number;
}

type Told = NonNullable<Parameters<NonNullable<Transport["listen"]>>[1]>;
const CONNECTING: Agent = { stage: "connecting", upstream: null, trouble: null, number: 0, tokens_wanted: 0 };
/** It is of no use to ask again. */
const FINAL = ["session_not_found", "session_expired", "forbidden"];

class Live {
  agent = CONNECTING;
  picture: string | null = null;
  #socket: WebSocket | null = null;
  #isWatching = false;
  #failures = 0;
  #told = new Set<Told>();
  #listeners = new Set<() => void>();

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** For `open({ listen })`: what the proxy has saved is looked at at once, not with the next poll. */
  listen: NonNullable<Transport["listen"]> = (_, told) => {
    this.#told.add(told);
    return () => void this.#told.delete(told);
  };

  /** Connects for a session that the server knows. Returns what ends it. */
  connect(session: string): () => void {
    const socket = (this.#socket = new WebSocket(`${location.origin.replace("http", "ws")}/live`));
    let again: ReturnType<typeof setTimeout> | undefined;
    let isFinal = false;
    const hello = async (refresh: boolean): Promise<void> => socket.send(JSON.stringify({ action: "hello", token: await token(refresh), session }));
    socket.onopen = () => void hello(false).then(() => this.#isWatching && this.say("watch"));
    socket.onmessage = ({ data }: MessageEvent<string | Blob>) => {
      if (typeof data !== "string") return this.#show({ picture: URL.createObjectURL(data) });
      const { event, ...said } = JSON.parse(data) as { event: string; code: string } & Agent;
      if (event === "refused") return void (isFinal = FINAL.includes(said.code));
      this.#failures = 0;
      if (said.tokens_wanted > this.agent.tokens_wanted) void hello(true);
      if (said.number > this.agent.number) this.#told.forEach((told) => told({ kind: "snapshot", number: said.number }));
      this.#show({ agent: said });
    };
    let end = (): void => clearTimeout(again);
    socket.onclose = () => {
      this.#show({ agent: CONNECTING });
      if (!isFinal) again = setTimeout(() => (end = this.connect(session)), Math.min(500 * 2 ** this.#failures++, 10_000));
    };
    return () => {
      socket.onclose = null;
      socket.close();
      end();
    };
  }

  say(action: "send_message" | "log_in" | "watch" | "unwatch", more: object = {}): void {
    if (action === "watch" || action === "unwatch") {
      this.#isWatching = action === "watch";
      this.#show({ picture: null });
    }
    // What is not heard is not lost: messages are in the session, and watching is said again.
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ action, ...more }));
  }

  #show(changed: { agent?: Agent; picture?: string | null }): void {
    if ("picture" in changed && this.picture) URL.revokeObjectURL(this.picture);
    Object.assign(this, changed);
    this.#listeners.forEach((listener) => listener());
  }
}

export const live = new Live();
