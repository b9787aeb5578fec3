/** A conversation by voice: what is said on the line goes into the session, and what is in the session to the agent. */

import type { Session } from "asyouwere";
import { onlyTab, reconnecting, type Attempt, type Connection } from "asyouwere/helpers";
import { createStore } from "zustand/vanilla";

export type Message = {
  role: "user" | "assistant";
  content: string;
  /** Of an answer. speaking: whichever agent is told of it goes on from here. */
  status?: "speaking" | "whole" | "interrupted";
};

/** The session's state, as it begins. All of it is sealed before it leaves the page. */
export const newTalk = () => ({
  startedAt: Date.now(),
  messages: [] as Message[],
  connection: "connecting" as Connection,
  conversation: "idle" as "idle" | "listening" | "processing" | "speaking",
  microphone: false,
});
export type Talk = ReturnType<typeof newTalk>;

/** How it is in this page, besides the session. */
const newSeen = () => ({
  connection: "connecting" as Connection,
  /** Another tab holds this conversation. */
  isElsewhere: false,
  /** The browser plays no sound in a page that was not touched yet. */
  isSilent: false,
  /** There is no microphone, or the person does not want it to be used. */
  isDeaf: false,
  happenings: [] as { event: VoiceEvent; what: string }[],
});
type VoiceEvent = "sessionRestored" | "sessionExpired" | "reconnecting" | "reconnected";

/** What the agent says on the data channel: see agent.py. */
interface Told {
  state?: Talk["conversation"];
  heard?: string;
  word?: string;
  end?: "whole" | "interrupted";
}

/** How many messages the agent is told. */
const CONTEXT = 10;

/** Messages with the answer changed that is being spoken, if one is. */
const spoken = (messages: Message[], change: Partial<Message> = { status: "interrupted" }): Message[] =>
  messages.map((one) => (one.status === "speaking" ? { ...one, ...change } : one));

/** Holds a session's conversation, from when it is restored. `fetch` asks our server, as who is signed in. */
export class Voice {
  readonly seen = createStore(newSeen);
  readonly session: Session<Talk>;
  readonly #fetch: typeof fetch;
  readonly #audio = document.body.appendChild(new Audio());
  #microphone: MediaStreamTrack | null = null;
  #words: RTCDataChannel | null = null;
  #sender: RTCRtpSender | null = null;

  /** The line to the agent. */
  readonly line = reconnecting((attempt) => this.#dial(attempt), {
    changed: (connection) => {
      this.seen.setState({ connection });
      this.session.set("/connection", connection);
      if (connection === "connected") this.#tell();
    },
    reconnecting: () => this.#happened("reconnecting", "the agent does not answer"),
    reconnected: () => this.#happened("reconnected", "the agent is there again"),
  });

  constructor(session: Session<Talk>, fetch: typeof globalThis.fetch) {
    this.session = session;
    this.#fetch = fetch;
    session.on("restored", ({ from }) => {
      const place = from === "copy" ? "this browser" : "the server";
      this.#happened("sessionRestored", `${session.state.messages.length} messages, from ${place}`);
      if (from === "server") void this.#begin();
    });
    session.on("expired", () => this.#happened("sessionExpired", `goes on in a new one, with the last ${CONTEXT} messages`));
    session.on("reconnecting", () => this.#happened("reconnecting", "the server does not answer; what is said is kept here"));
    session.on("reconnected", () => this.#happened("reconnected", "the server is there again"));
  }

  /** As it was: on the line unless somebody hung up, with the microphone if it was on and nobody has to be asked. */
  async #begin(): Promise<void> {
    // an agent that is called by two tabs answers twice
    await onlyTab(`voice ${this.session.id}`, () => this.seen.setState({ isElsewhere: true }));
    const { connection, microphone } = this.session.state;
    this.seen.setState({ isElsewhere: false, connection });
    if (connection !== "disconnected") this.line.connect();
    if (!microphone) return;
    const { state } = await navigator.permissions.query({ name: "microphone" });
    await this.listen(state === "granted");
  }

  /** Makes one call: sound both ways, and a data channel for words. */
  async #dial({ opened, lost, signal }: Attempt): Promise<void> {
    const peer = new RTCPeerConnection();
    signal.onabort = () => peer.close();
    this.#sender = peer.addTransceiver("audio").sender;
    void this.#sender.replaceTrack(this.#microphone);
    peer.ontrack = ({ track }) => {
      this.#audio.srcObject = new MediaStream([track]);
      void this.play();
    };
    // "disconnected" may get well by itself, but a new line is there sooner
    peer.onconnectionstatechange = () => /disconnected|failed/.test(peer.connectionState) && lost();
    const words = (this.#words = peer.createDataChannel("words"));
    words.onopen = opened;
    words.onclose = lost;
    words.onmessage = ({ data }) => signal.aborted || this.#told(JSON.parse(data as string) as Told);
    await peer.setLocalDescription();
    // Not waiting for the page's own addresses: it finds the agent by the agent's, which come with the answer.
    const answer = await this.#fetch("/call", { method: "POST", body: JSON.stringify(peer.localDescription) });
    if (!answer.ok) throw new Error(`The agent does not answer (${answer.status}).`);
    await peer.setRemoteDescription((await answer.json()) as RTCSessionDescriptionInit);
  }

  #happened(event: VoiceEvent, what: string): void {
    this.seen.setState(({ happenings }) => ({ happenings: [{ event, what }, ...happenings.slice(0, 9)] }));
  }

  hangUp = (): void => {
    this.line.disconnect();
    void this.listen(false);
    this.session.update((talk) => ({ ...talk, conversation: "idle", messages: spoken(talk.messages) }));
  };

  /** The person says something; an answer that is being spoken ends there. */
  say = (content: string): void => {
    this.session.update((talk) => ({ ...talk, messages: [...spoken(talk.messages), { role: "user", content }] }));
    this.#tell();
  };

  /** Silences the agent. */
  interrupt = (): void => {
    this.session.update((talk) => ({ ...talk, messages: spoken(talk.messages) }));
    this.#tell();
  };

  /** Turns the microphone on or off. */
  listen = async (isOn: boolean): Promise<void> => {
    const stream = isOn ? await navigator.mediaDevices?.getUserMedia({ audio: true }).catch(() => null) : null;
    this.#microphone?.stop();
    this.#microphone = stream?.getAudioTracks()[0] ?? null;
    await this.#sender?.replaceTrack(this.#microphone).catch(() => {}); // of a call that is over
    this.session.set("/microphone", !!stream);
    this.seen.setState({ isDeaf: isOn && !stream });
  };

  /** Plays what the agent says. */
  play = (): Promise<void> =>
    this.#audio.play().then(
      () => this.seen.setState({ isSilent: false }),
      ({ name }: Error) => this.seen.setState({ isSilent: name === "NotAllowedError" }),
    );

  /** The agent keeps nothing: it is told the last messages, and answers the last one if that has no answer. */
  #tell(): void {
    if (this.#words?.readyState === "open") this.#words.send(JSON.stringify({ messages: this.session.state.messages.slice(-CONTEXT) }));
  }

  #told({ state, word, heard, end }: Told): void {
    this.session.update((talk) => {
      let { messages } = talk;
      const last = messages.at(-1);
      if (end) messages = spoken(messages, { status: end });
      else if (word && last?.status === "speaking") messages = spoken(messages, { content: `${last.content} ${word}` });
      else if (word) messages = [...messages, { role: "assistant", content: word, status: "speaking" }];
      return { ...talk, messages, conversation: state ?? talk.conversation };
    });
    if (heard) this.say(heard);
  }
}
