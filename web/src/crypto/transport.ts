/** A transport that seals what leaves and opens what comes; what is between the two is readable on the device alone. */

import { streamOf } from "../turns/stream.js";
import type { CallOptions, Changes, Delta, Json, Look, State, Transport } from "../core/types.js";
import type { Key } from "./keys.js";
import { isToken, nonceOf, seal, unseal, type Kind } from "./tokens.js";
import { at, items, openDelta, opened, plain, sealChanges, within, type Each } from "./values.js";

export interface Encryption {
  /** The key that seals. */
  key: Key;
  /** Older keys, which open only. */
  older?: Key[];
  /** Sessions that this one is a branch of: their parts open here, too. */
  origins?: string[];
  /**
   * Also take values that are not sealed, for a session that is older than its encryption. Whoever can write into the
   * database can make such values up.
   */
  allowPlain?: boolean;
}

/**
 * Seals and opens around a transport. A session whose values don't open here (`wrong_key`, `tampered`) is neither
 * shown nor saved into.
 */
export function encrypted(transport: Transport, { key, older = [], origins = [], allowPlain = false }: Encryption): Transport {
  const keys = new Map([key, ...older].map(({ id, key }) => [id, key]));
  /** Sessions whose state has opened here, so that what is there is ours. */
  const known = new Map<string, State>();
  /** What was sent, sealed: asked again it has to be the same. */
  const sent = new Map<string, unknown>();
  /** The texts of turns that are made here, and what is said of their messages. */
  const turns = new Map<string, { message: State; text: string }>();

  const sealing = (session: string): Each => async (value, kind, place) => {
    const token = await seal(JSON.stringify(value), { session: session.toLowerCase(), kind, place }, key);
    return kind === "part" ? token : { encrypted: token };
  };

  /** Opens the values of one answer, in which no sealed value stands twice. */
  const opening = (session: string): Each => {
    const seen = new Set<string>();
    return async (value, kind, place) => {
      const token = kind === "part" ? value : ((value as State | null)?.["encrypted"] ?? null);
      if (!isToken(token, kind)) return allowPlain ? value : plain(kind, place);
      const nonce = nonceOf(token);
      if (seen.has(nonce)) plain(kind, place);
      seen.add(nonce);
      let failure: unknown;
      for (const one of [session, ...origins]) {
        try {
          return JSON.parse(await unseal(token, { session: one.toLowerCase(), kind, place }, keys)) as Json;
        } catch (error) {
          failure ??= error;
        }
      }
      throw failure;
    };
  };

  const openState = async (session: string, state: State): Promise<State> => {
    const plainState = (await within(state, "", opening(session))) as State;
    known.set(session, plainState);
    return plainState;
  };

  const delta = (session: string, changes: Delta | null): Promise<Delta | null> =>
    changes ? openDelta(changes, opening(session)) : Promise.resolve(null);

  const chunks = (session: string, turn: string, first: number, list: Json[], each: (session: string) => Each): Promise<Json[]> => {
    const one = each(session);
    return Promise.all(list.map((chunk, index) => one(chunk, "chunk", `${turn} ${first + index}`)));
  };

  const openLook = async <L extends Look>(session: string, turn: string, look: L): Promise<L> => ({
    ...look,
    chunks: await chunks(session, turn, look.next_seq - look.chunks.length, look.chunks, opening),
  });

  /** Before anything is saved into a session it has opened once: another key's values are not to be replaced. */
  const verify = async (session: string, options?: CallOptions): Promise<void> => {
    if (known.has(session)) return;
    const of = { session_id: session };
    const { parts } = await transport.call("parts", { ...of, addresses: [{ address: "/messages", last: 1 }] }, options);
    const last = parts[0]?.value as Json[] | null;
    if (last?.length) {
      await items(last, "/messages", opening(session));
      known.set(session, {});
    } else await openState(session, (await transport.call("restore", of, options)).state);
  };

  /** The same for the same key, however often it is asked. */
  const once = async <T>(name: string, make: () => Promise<T>): Promise<T> => {
    if (!sent.has(name)) {
      for (const old of [...sent.keys()].slice(0, -20)) sent.delete(old);
      sent.set(name, await make());
    }
    return sent.get(name) as T;
  };

  const calls: Record<string, (args: any, options?: CallOptions) => Promise<unknown>> = {
    async create(args, options) {
      const sealed = args.state && args.id && (await within(args.state, "", sealing(args.id)));
      const answer = await transport.call("create", sealed ? { ...args, state: sealed } : args, options);
      if (answer.created) known.set(answer.id, args.state ?? {});
      return answer;
    },
    async save(args, options) {
      const session: string = args.session_id;
      await verify(session, options);
      const after = options?.state ?? known.get(session)!;
      const changes = await once(args.idempotency_key, () => sealChanges(args.changes as Changes, after, sealing(session)));
      const answer = await transport.call("save", { ...args, changes }, options);
      return { ...answer, others: await delta(session, answer.others) };
    },
    async restore(args, options) {
      const answer = await transport.call("restore", args, options);
      return { ...answer, state: await openState(args.session_id, answer.state) };
    },
    async changes(args, options) {
      const answer = await transport.call("changes", args, options);
      const changes = await delta(args.session_id, answer.changes);
      // what opens is ours; where lists are is told with each save
      if (changes && !known.has(args.session_id)) known.set(args.session_id, {});
      return { ...answer, changes };
    },
    async parts(args, options) {
      const answer = await transport.call("parts", args, options);
      const parts = answer.parts.map(async (part) => {
        const address = part.address as string | { address: string };
        const pointer = typeof address === "string" ? address : address.address;
        return part.present ? { ...part, value: await opened(part.value as Json, pointer, opening(args.session_id)) } : part;
      });
      return { ...answer, parts: await Promise.all(parts) };
    },
    async diff(args, options) {
      const answer = await transport.call("diff", args, options);
      const open = async (value: Json | undefined, pointer: string): Promise<Json | undefined> =>
        value === undefined || value === null ? value : opened(value, pointer, opening(args.session_id));
      const differences = answer.differences.map(async (one) => ({
        ...one,
        before: await open(one.before as Json, one.address),
        after: await open(one.after as Json, one.address),
      }));
      return { ...answer, differences: await Promise.all(differences) };
    },
    async begin({ message, ...args }, options) {
      const answer = await transport.call("begin", args, options);
      turns.set(args.turn_id, { message: message ?? { role: "assistant" }, text: "" });
      return answer;
    },
    async chunks(args, options) {
      const { session_id: session, turn_id: turn, from_seq: first } = args;
      await verify(session, options);
      const made = await once(`${turn} ${first}`, async () => {
        const of = turns.get(turn);
        if (of) for (const chunk of args.chunks) if (typeof chunk === "string") of.text += chunk;
        return chunks(session, turn, first, args.chunks, sealing);
      });
      return transport.call("chunks", { ...args, chunks: made }, options);
    },
    async finish(args, options) {
      const { session_id: session, turn_id: turn } = args;
      await verify(session, options);
      const body = await once(`finish ${turn}`, async () => {
        const each = sealing(session);
        // the server can't make the message of chunks that it can't read
        const { message, text } = turns.get(turn) ?? { message: {}, text: "" };
        const status = args.status === "done" ? {} : { status: args.status };
        const whole = args.message ?? (text ? { ...message, content: text, ...status } : undefined);
        return {
          ...args,
          ...(whole !== undefined && { message: (await items([whole], "/messages", each))[0] }),
          ...(args.changes && { changes: await sealChanges(args.changes, options?.state ?? known.get(session)!, each) }),
        };
      });
      return transport.call("finish", body, options);
    },
    async turn(args, options) {
      return openLook(args.session_id, args.turn_id, await transport.call("turn", args, options));
    },
    async latest(args, options) {
      const answer = await transport.call("latest", args, options);
      return answer && openLook(args.session_id, answer.id, answer);
    },
  };

  const stream = streamOf(transport);
  return {
    ...transport,
    call: ((operation, args, options) =>
      calls[operation]?.(args, options) ?? transport.call(operation, args, options)) as Transport["call"],
    ...(stream && {
      async *stream(session, turn, after, signal) {
        for await (const look of stream(session, turn, after, signal)) yield openLook(session, turn, look);
      },
    }),
  };
}

/**
 * Everything of a session that older keys sealed, sealed anew by the key that seals now, as one save. What is in its
 * history stays as it is: keep the older keys as long as that is looked at. `transport`: the one below, not sealed.
 */
export async function reseal(transport: Transport, session: string, encryption: Encryption): Promise<number> {
  const answer = await transport.call("restore", { session_id: session });
  const isOld = (value: Json, kind: Kind): boolean => {
    const token = kind === "part" ? value : (value as State | null)?.["encrypted"];
    return !isToken(token, kind) || !token.startsWith(`ayw1.${kind}.${encryption.key.id}.`);
  };
  const wrapped = encrypted(transport, encryption);
  const state = (await wrapped.call("restore", { session_id: session, number: answer.number })).state;
  const set: Record<string, Json> = {};
  const counts = new Map<string, number>();
  await within(answer.state, "", async (value, kind, place) => {
    const index = counts.get(place) ?? 0;
    counts.set(place, index + 1);
    const pointer = kind === "item" ? `${place}/${index}` : place;
    if (isOld(value, kind)) set[pointer] = at(state, pointer)!;
    return value;
  });
  if (!Object.keys(set).length) return answer.number;
  const save = { session_id: session, changes: { set }, base: answer.number, idempotency_key: crypto.randomUUID() };
  return (await wrapped.call("save", save, { state })).number;
}
