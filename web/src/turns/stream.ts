/** A turn as an event stream, where the server has one. */

import { wayOf, type Placed } from "../core/https.js";
import { Refused } from "../core/refused.js";
import { request } from "../core/requests.js";
import type { Look, Transport } from "../core/types.js";

/** One event: a chunk, or by its name an end, or what was refused. */
const EVENT = /(?:event: (\w+)\n)?(?:id: (\d+)\n)?data: (.*)\n\n/g;

/** A transport's own way to stream a turn, or that of the functions; undefined: it has to be polled. */
export function streamOf({ stream, _place: place }: Placed): Transport["stream"] {
  if (stream || !place) return stream;
  return async function* (session_id, turn_id, after, signal) {
    const from = { ...place, headers: { Accept: "text/event-stream" } };
    const body = await request(from, ...wayOf("turn", { session_id, turn_id, after }), ({ body }) => body, { signal });
    // none: it is over, and all is known; or this fetch can't stream
    const reader = body?.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
    const stop = (): void => void reader?.cancel().catch(() => {});
    let text = "";
    try {
      while (reader) {
        const cancel = place.environment.clock.after(45_000, stop); // there is a sign of life every 15 s
        const { done, value } = await reader.read();
        cancel();
        if (done) return;
        const looks: Look[] = [];
        text = (text + value).replace(EVENT, (_, event: string | undefined, id: string, data: string) => {
          const said = JSON.parse(data) as Look & { code: string };
          if (event === "error") throw new Refused(said.code, {}, +said.status);
          const end = { status: "running", number: null, position: null } as const;
          looks.push(event ? { ...said, chunks: [], next_seq: +id } : { ...end, chunks: [said as never], next_seq: +id + 1 });
          return "";
        });
        yield* looks;
      }
    } finally {
      stop();
    }
  };
}
