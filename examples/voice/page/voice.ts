/** A conversation by voice: what is said on the line goes into the session, and what is in the session to the agent. */

import type { Session } from "asyouwere";
import { onlyTab } from "asyouwere/helpers";
import { Line, type Connection, type LineParts, type Told } from "./line";

export type Message = {
  role: "user" | "assistant";
  content: string;
  /** ms since 1970. */
  at: number;
  /** speaking: not whole yet; whichever agent is told of it goes on from here. */
  status?: "speaking" | "interrupted";
};

/** The session's state. All of it is sealed before it leaves the page. */
export interface Talk {
  startedAt: number;
  messages: Message[];
  connection: Connection;
  conversation: "idle" | "listening" | "processing" | "speaking";
  microphone: boolean;
  reconnects: number;
}

export const newTalk = (): Talk => ({
  startedAt: Date.now(),
  messages: [],
  connection: "connecting",
  conversation: "idle",
  microphone: false,
  reconnects: 0,
});

export type VoiceEvent = "sessionRestored" | "sessionExpired" | "reconnecting" | "reconnected";

/** How many messages the agent is told. */
const CONTEXT = 10;

const replaceLast = <T>(list: T[], last: T): T[] => [...list.slice(0, -1), last];

/** Messages of which none is being spoken any more. */
function ended(messages: Message[], how: Told["end"] = "interrupted"): Message[] {
  const { status, ...last } = messages.at(-1) ?? ({} as Message);
  if (status !== "speaking") return messages;
  return replaceLast(messages, how === "whole" ? last : { ...last, status: "interrupted" });
}

/** What a page shows besides the session. */
export interface Seen {
  /** The line of this page. */
  connection: Connection;
  /** What the agent says, to be played. */
  sound: MediaStream | null;
  /** Whether another tab holds this conversation. */
  isElsewhere: boolean;
  happenings: readonly { event: VoiceEvent; what: string; at: number }[];
}

/** Holds a session's conversation, from when it is restored. */
export class Voice {
  readonly #session: Session<Talk>;
  readonly #line: Line;
  readonly #listeners = new Set<() => void>();
  #seen: Seen = { connection: "connecting", sound: null, isElsewhere: false, happenings: [] };

  constructor(session: Session<Talk>, call: LineParts["call"]) {
    this.#session = session;
    const happened = (event: VoiceEvent, what: string) =>
      this.#show({ happenings: [{ event, what, at: Date.now() }, ...this.#seen.happenings.slice(0, 9)] });
    this.#line = new Line({
      call,
      sound: (sound) => this.#show({ sound }),
      told: (message) => this.#told(message),
      changed: (connection) => {
        this.#show({ connection });
        session.set("/connection", connection);
        if (connection === "connected") this.#tell();
      },
      reconnecting: () => happened("reconnecting", "the agent does not answer"),
      reconnected: () => {
        session.update((talk) => ({ ...talk, reconnects: talk.reconnects + 1 }));
        happened("reconnected", "the agent is there again");
      },
    });
    session.on("restored", ({ from }) => {
      const count = session.state.messages.length;
      happened("sessionRestored", `${count} messages, from ${from === "copy" ? "this browser" : "the server"}`);
      if (from === "server") void this.#begin();
    });
    session.on("expired", () => happened("sessionExpired", `goes on in a new one, with the last ${CONTEXT} messages`));
    session.on("reconnecting", () => happened("reconnecting", "the server does not answer; what is said is kept here"));
    session.on("reconnected", () => happened("reconnected", "the server is there again"));
  }

  /** As it was: on the line unless somebody hung up, with the microphone if it was on and nobody has to be asked. */
  async #begin(): Promise<void> {
    // an agent that is called by two tabs answers twice
    await onlyTab(`voice ${this.#session.id}`, () => this.#show({ isElsewhere: true }));
    this.#show({ isElsewhere: false, connection: this.#session.state.connection });
    if (this.#session.state.connection !== "disconnected") this.call();
    if (!this.#session.state.microphone) return;
    const asked = await navigator.permissions.query({ name: "microphone" });
    await this.microphone(asked.state === "granted").catch(() => this.microphone(false));
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  getSeen = (): Seen => this.#seen;

  #show(more: Partial<Seen>): void {
    this.#seen = { ...this.#seen, ...more };
    this.#listeners.forEach((listener) => listener());
  }

  call(): void {
    this.#line.connect();
  }

  hangUp(): void {
    this.#line.hangUp();
    void this.microphone(false);
    this.#session.update((talk) => ({ ...talk, conversation: "idle", messages: ended(talk.messages) }));
  }

  /** The person says something; an answer that is being spoken ends there. */
  say(content: string): void {
    const message: Message = { role: "user", content, at: Date.now() };
    this.#session.update((talk) => ({ ...talk, messages: [...ended(talk.messages), message] }));
    this.#tell();
  }

  /** Silences the agent. */
  interrupt(): void {
    this.#session.update((talk) => ({ ...talk, messages: ended(talk.messages) }));
    this.#tell();
  }

  /** Rejects if there is no microphone, or the person does not want it to be used. */
  async microphone(on: boolean): Promise<void> {
    const stream = on ? await navigator.mediaDevices.getUserMedia({ audio: true }) : null;
    await this.#line.listenTo(stream?.getAudioTracks()[0] ?? null);
    this.#session.set("/microphone", on);
  }

  /** The agent keeps nothing: it is told the last messages, and answers the last one if that has no answer. */
  #tell(): void {
    this.#line.send({ messages: this.#session.state.messages.slice(-CONTEXT) });
  }

  #told({ state, word, heard, end }: Told): void {
    this.#session.update((talk) => {
      let { messages } = talk;
      const last = messages.at(-1);
      if (end) messages = ended(messages, end);
      else if (word && last?.status === "speaking") messages = replaceLast(messages, { ...last, content: `${last.content} ${word}` });
      else if (word) messages = [...messages, { role: "assistant", content: word, at: Date.now(), status: "speaking" }];
      return { ...talk, messages, conversation: state ?? talk.conversation };
    });
    if (heard) this.say(heard);
  }
}
