/** The line to the agent: sound both ways and a data channel for words, made anew whenever it breaks. */

export type Connection = "connecting" | "connected" | "disconnected";

/** What the agent says on the data channel: see agent.py. */
export interface Told {
  state?: "idle" | "listening" | "processing" | "speaking";
  heard?: string;
  word?: string;
  end?: "whole" | "interrupted";
}

export interface LineParts {
  /** Takes an offer to the agent and brings its answer. */
  call(offer: RTCSessionDescription): Promise<RTCSessionDescriptionInit>;
  told(message: Told): void;
  sound(stream: MediaStream): void;
  changed(connection: Connection): void;
  /** The line broke, and is made anew; it is there again. */
  reconnecting(): void;
  reconnected(): void;
}

/** A line that is not there after so long is tried again. */
const PATIENCE = 10_000;

export class Line {
  #parts: LineParts;
  #peer: RTCPeerConnection | null = null;
  #words: RTCDataChannel | null = null;
  #sender: RTCRtpSender | null = null;
  #microphone: MediaStreamTrack | null = null;
  #failures = 0;
  #timer = 0;

  constructor(parts: LineParts) {
    this.#parts = parts;
    // no need to wait any longer
    addEventListener("online", () => this.#failures && this.connect());
  }

  /** Calls the agent; from now on the line is kept up, until `hangUp`. */
  connect(): void {
    const peer = new RTCPeerConnection();
    this.#close(peer);
    this.#parts.changed("connecting");
    const ifMine = (what: () => void) => () => void (peer === this.#peer && what());
    const again = ifMine(() => this.#again());
    this.#timer = setTimeout(again, PATIENCE);

    this.#sender = peer.addTransceiver("audio").sender;
    void this.#sender.replaceTrack(this.#microphone);
    peer.ontrack = ({ track }) => this.#parts.sound(new MediaStream([track]));
    // "disconnected" may get well by itself, but a new line is there sooner
    peer.onconnectionstatechange = () => /disconnected|failed|closed/.test(peer.connectionState) && again();

    const words = (this.#words = peer.createDataChannel("words"));
    words.onmessage = ({ data }) => ifMine(() => this.#parts.told(JSON.parse(data as string) as Told))();
    words.onclose = again;
    words.onopen = ifMine(() => {
      clearTimeout(this.#timer);
      if (this.#failures) this.#parts.reconnected();
      this.#failures = 0;
      this.#parts.changed("connected");
    });
    void this.#dial(peer).catch(again);
  }

  async #dial(peer: RTCPeerConnection): Promise<void> {
    await peer.setLocalDescription();
    // All addresses go with the offer: on one machine, or in one network, they are known at once.
    while (peer.iceGatheringState !== "complete") await new Promise((next) => (peer.onicegatheringstatechange = next));
    await peer.setRemoteDescription(await this.#parts.call(peer.localDescription!));
  }

  /** Tries again: after half a second, then twice as long each time, and not all pages at once. */
  #again(): void {
    const wait = Math.min(500 * 2 ** this.#failures, 15_000) * (0.5 + Math.random() / 2);
    this.#close(null);
    if (!this.#failures++) this.#parts.reconnecting();
    this.#parts.changed("connecting");
    this.#timer = setTimeout(() => this.connect(), wait);
  }

  #close(next: RTCPeerConnection | null): void {
    clearTimeout(this.#timer);
    const before = this.#peer;
    this.#peer = next;
    this.#sender = null;
    before?.close();
  }

  hangUp(): void {
    this.#failures = 0;
    this.#close(null);
    this.#parts.changed("disconnected");
  }

  /** Whether the agent was told. */
  send(message: object): boolean {
    if (this.#words?.readyState !== "open") return false;
    this.#words.send(JSON.stringify(message));
    return true;
  }

  /** What the agent hears from now on; null: nothing. */
  async listenTo(microphone: MediaStreamTrack | null): Promise<void> {
    this.#microphone?.stop();
    this.#microphone = microphone;
    await this.#sender?.replaceTrack(microphone);
  }
}
