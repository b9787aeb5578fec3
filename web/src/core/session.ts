/** A session: what the app changes, what the server has, and when they meet. */

import type { Behaviour, Found, Surroundings } from "./behaviour.js";
import { apply } from "./changes.js";
import { compose, copyFrom, copyOf, giveUp, letGo, recordOf, settle, unsaved, waitingOf, type Copy } from "./copy.js";
import { lastMessages } from "./messages.js";
import type { Operations } from "./operations.js";
import { peersOf, type Peers } from "./peers.js";
import { rebase, type Doubt } from "./rebase.js";
import { Refused } from "./refused.js";
import { catchUp, isGone, isPassing, save, type Errand } from "./saving.js";
import type { Events, Session, Snapshot, Status } from "./surface.js";
import { isList, isObject } from "./values.js";
import type { Changes, Delta, Journal, Json, JournalRecord, Pointer, RecordName, State } from "./types.js";

const VERSION = "schemaVersion";
const TAKEN = "taken_over";
const GLIMPSE = ["/memory", { address: "/messages", last: 100 }];

/** What the package's other entries need of a session. */
export interface Inner {
  _inner: Surroundings & {
    /** Looks what others have saved. */
    _look(): Promise<unknown>;
    _emit(event: "turn", detail: Events["turn"]): void;
  };
}

/** Opens a session. Everything it does afterwards it does by itself, until it is closed. */
export function createSession<S>(
  options: Behaviour<S> & { session?: string | undefined },
  { environment, transport }: Surroundings,
  finding: Promise<Found>,
): Session<S> {
  const { debounce = 5_000, maxWait = 30_000, poll = 3_000, version, onExpired = "stop" } = options;
  const { clock, page, uuid } = environment;
  const initial = (options.initial ?? {}) as State;
  const copy: Copy = copyOf(initial, uuid());
  let client = uuid();
  let journal: Journal | undefined;
  let found: Found | undefined;
  let peers: Peers | undefined;
  let make: Found["_make"];
  let isOpen = true; // not closed, and not gone
  let isMet = false; // the server has said what it has
  let isShut = false; // closed, and all is written down
  let lives = 0; // how many sessions were gone
  let failures = 0; // one after the other
  let stuck: Refused | null = null; // why a save was refused that asking again can't help
  let view = initial;
  let isSaving = false;
  let saveCount = 0;
  let lastSaved: number | null = null;
  let error: Refused | null = null;
  let isRestored = false;
  let isPartial = false;

  let settleReady: [resolve: () => void, reject: (error: unknown) => void];
  const ready = new Promise<void>((...both) => (settleReady = both));
  ready.catch(() => {});

  // -- telling the app -------------------------------------------------------------------------------------------

  const hearers: { [event: string]: Set<(detail: never) => void> } = {};
  const on = (event: string, hear: (detail: never) => void): (() => void) => {
    const those = (hearers[event] ??= new Set()).add(hear);
    return () => void those.delete(hear);
  };
  const emit = <E extends keyof Events>(event: E | "change", detail: Events[E]): void =>
    hearers[event]?.forEach((hear) => hear(detail as never));

  let snapshot: Snapshot<S>;

  /** Saved by a newer version of the app. */
  const isReadOnly = (): boolean => Number(copy._local[VERSION]) > version!;

  const publish = (): void => {
    view = peers?._over(copy._local) ?? copy._local;
    const status: Status = {
      isSaving,
      lastSaved,
      saveCount,
      waiting: waitingOf(unsaved(copy)),
      error,
      offline: error?.status === 0,
      journal: journal?.health() ?? "ok",
      isRestored,
      isPartial,
      isReadOnly: isReadOnly(),
    };
    snapshot = { id: self.id, state: view as S, number: copy.number, status };
    Object.assign(session, snapshot);
    emit("change", {});
  };

  const shown = (from: Events["restored"]["from"]): void => {
    emit("restored", { from });
    settleReady[0]();
  };

  // -- writing down ----------------------------------------------------------------------------------------------

  const record = (name: RecordName = { session: self.id, client }, of = copy): JournalRecord => recordOf(of, name, clock.now());
  let writing: Promise<boolean> | undefined;
  let isWritten = true;
  /** What came of a save of more than was written down. */
  let departing: Promise<boolean> | undefined;

  /** Writes the copy down; edits that come meanwhile go into one more record. Resolves when this one is durable. */
  const write = async (): Promise<boolean> => {
    if (!journal) return true;
    isWritten = false;
    return (writing ??= (async () => {
      let isOurs = true;
      while (!isWritten) {
        isWritten = true;
        copy._written[1] = copy._local;
        if (await journal.write(record())) copy._written.shift();
        else {
          // this page was frozen, and another has taken what it had
          isOurs = isWritten = false;
          if (await departing) copy._written = [copy.base]; // but it has come first with that, and with more
          peers?._forget(client);
          client = uuid();
          copy.next = uuid();
          letGo(copy);
          peers?._tell();
          publish();
        }
        departing = undefined;
      }
      writing = undefined;
      if (isShut) await journal.close(self.id); // what was changed after the end is another's to save
      return isOurs;
    })());
  };

  // -- asking the server -----------------------------------------------------------------------------------------

  const settled: Errand["_settled"] = (doubts, since, changes) => {
    if (isPartial) doubts = []; // of what is not here yet
    for (const doubt of doubts) {
      const value = options.resolve?.(doubt);
      if (value !== undefined) copy._local = apply(copy._local, { set: { [doubt.address]: value } });
    }
    changed(doubts, since, changes);
  };
  /** The copy is another one: written down, told and shown. */
  const changed = (doubts: Doubt[], since?: number, changes?: Changes | Delta): void => {
    if (doubts.length) emit("conflict", { doubts });
    void write();
    peers?._tell(since, changes);
    publish();
  };
  const self: Errand = { id: options.session ?? "", _copy: copy, transport, uuid, write, _settled: settled };

  const ask = <O extends keyof Operations>(operation: O, args: Omit<Operations[O]["args"], "session_id">) =>
    transport.call(operation, { session_id: self.id, ...args } as Operations[O]["args"]);

  /** The memory and the last messages, to be shown until all is there. */
  const glimpse = async (): Promise<void> => {
    const { parts } = await ask("parts", { addresses: GLIMPSE });
    const seen: State = {};
    for (const { present, address, value } of parts) if (present) seen[address.slice(1)] = value as Json;
    copy._local = rebase(copy._sent, seen, copy._local).state;
    copy._sent = seen;
    isPartial = true;
    publish();
    emit("restored", { from: "server" });
  };

  /** It is another session from now on. */
  const rename = (id: string): void => {
    peers?.close();
    self.id = id;
    found!._moved?.(id);
    peers = talk();
    publish();
  };

  /** Goes on in another session, with the edits that there are; the record moves along. */
  const moveTo = async (id: string): Promise<void> => {
    const before = { session: self.id, client };
    rename(id);
    await journal!.write(record(), [before]);
  };

  /** The first word with the server: the session is made or found, and its state is here. */
  const meet = async (): Promise<void> => {
    if (make && !copy.number) {
      const { id } = self;
      const made = await transport.call("create", { ...options.fields, ...make, id, ...(options.initial && { state: initial }) });
      if (made.id !== id) await moveTo(made.id);
      if (made.created) {
        if (copy.sending) giveUp(copy); // it was never sent there
        settled(settle(copy, initial, made.latest_number), 0);
      } else if (!copy.sending) await catchUp(self);
    } else if (!copy.sending) {
      if (!copy.number && !Object.keys(copy._sent).length) await glimpse().catch(() => {});
      await catchUp(self);
    }
    isMet = isRestored = true;
    isPartial = false;
    publish();
    void write();
    shown("server");
  };

  /** Brings up what an older version of the app has saved: alone, so what was changed before is saved first. */
  const upgrade = async (): Promise<void> => {
    const from = Number(copy._local[VERSION] ?? 1);
    const { number } = copy;
    if (!version || !options.migrate || from >= version || !number) return;
    if (!unsaved(copy)) {
      await ask("label", { number, label: `before version ${version}` }).catch(() => {}); // or it has it
      if (!unsaved(copy) && copy.number === number) {
        // once: whoever else does the same at this moment has this key, too
        copy.next = `version ${version} of ${number}`;
        change(options.migrate(copy._local as S, from) as State);
        compose(copy, uuid);
      }
    }
    if (unsaved(copy)) alarm(0);
  };

  /** The session is gone: whether there is another one to go on in. */
  const replace = async (): Promise<boolean> => {
    giveUp(copy);
    await write();
    isMet = false;
    if (!make && !copy.number && copy._local !== copy.base) make = {}; // begun while the server was away, maybe
    else if (found!._make && !isRestored) {
      settle(copy, {}, 0); // an id that was remembered too long
      await moveTo(uuid());
    } else {
      emit("expired", { session: self.id });
      if (onExpired === "stop") return false;
      const { messages } = copy._local;
      const carries = onExpired !== "new" && isList(messages) && messages.length;
      const local = carries ? { ...initial, messages: lastMessages(messages, onExpired.carry) } : initial;
      await journal!.close(self.id); // what is written down of it stays
      peers?._forget(client);
      client = uuid();
      Object.assign(copy, copyOf(initial, uuid()), { _local: local } satisfies Partial<Copy>);
      make ??= {};
      lives++;
      rename(uuid());
      void write();
    }
    return true;
  };

  /** How long to wait after a failure: longer each time, and never all clients at once. */
  const patience = (): number => Math.min(500 * 2 ** failures, 30_000) * (0.5 + environment.random() / 2);

  /** A save was answered. */
  const saved = (): void => {
    stuck = null;
    saveCount++;
    lastSaved = clock.now();
    publish();
    emit("saved", { number: copy.number });
  };

  /** What goes over the line goes one after the other, and after the journal was looked into. */
  let last: Promise<unknown>;

  /** All that there is to do: meet, save, look. */
  const work = (what: { save?: boolean; _look?: boolean; keepalive?: boolean }): Promise<void> => {
    const result = last.then(async () => {
      if (!isOpen) {
        if (what.save && error) throw error; // it is not saved, and will not be
        return;
      }
      try {
        if (!isMet) await meet();
        while ((what.save || copy.sending) && !isReadOnly() && copy._local !== copy.base) {
          isSaving = true;
          publish();
          if (!(await save(self, what))) break;
          saved();
        }
        if (what._look && !copy.sending) await catchUp(self);
        await upgrade();
        if (failures) emit("reconnected", {});
        failures = 0;
        if (isSaving || error !== stuck) {
          isSaving = false;
          error = stuck;
          publish();
        }
      } catch (refused) {
        error = refused as Refused;
        const wasSaving = isSaving;
        isSaving = false;
        publish();
        if (isGone(error)) {
          isOpen = await replace();
          if (isOpen) alarm(0);
        } else if (isPassing(error)) {
          if (!failures++) emit("reconnecting", { error });
          alarm(error.retryAfter ?? patience());
        } else {
          if (wasSaving) stuck = error;
          emit("error", { error });
          if (!isMet) settleReady[1](error);
        }
        if (!isOpen) settleReady[1](error);
        throw error;
      }
    });
    last = result.catch(() => {});
    return result;
  };

  const quietly = (what: Parameters<typeof work>[0]): Promise<unknown> => (void work(what), last);

  // -- when ------------------------------------------------------------------------------------------------------

  let cancelSave = (): void => {};
  let cancelLook = (): void => {};
  let firstUnsaved = 0; // when the first change was made that is not on its way
  let quietLooks = 0;
  let rhythm = poll;

  function alarm(milliseconds: number): void {
    cancelSave();
    cancelSave = clock.after(milliseconds, () => {
      firstUnsaved = 0;
      void quietly({ save: true });
    });
  }

  /** Looks again and again for what others have saved; seldom while nobody sees it, or where realtime tells. */
  const look = (now = false): void => {
    cancelLook();
    if (!poll || !isOpen) return;
    const wait = page.hidden() ? Math.min(rhythm * 2 ** ++quietLooks, 60_000) : rhythm;
    cancelLook = clock.after(now ? 0 : Math.max(failures && patience(), wait), () => void quietly({ _look: true }).then(() => look()));
  };

  // -- what the app does -----------------------------------------------------------------------------------------

  function change(to: State): void {
    if (to === view) return;
    if (!isObject(to)) throw new TypeError("no state");
    if (isReadOnly()) throw new Refused("read_only");
    const newer = version && to[VERSION] !== version ? { ...to, [VERSION]: version } : to;
    // what other tabs have made and not saved is in the view, and not ours to save
    const { state, doubts } = rebase(view, copy._local, newer, {}, true);
    copy._local = state;
    changed(doubts);
    firstUnsaved ||= clock.now();
    if (!failures && found) alarm(Math.min(debounce, firstUnsaved + maxWait - clock.now()));
  }

  const saveNow = async (): Promise<void> => {
    await finding;
    cancelSave();
    firstUnsaved = 0;
    await work({ save: true });
  };

  let departed: Copy["sending"] = null;

  /**
   * The page may be going: what there is goes now, past whatever is waited for. A save that is under way is asked again
   * in a way that outlives the page: it has its key.
   */
  const depart = (): void => {
    if (!isMet || !isOpen || isReadOnly() || copy._local === copy.base || (departed && copy.sending === departed)) return;
    departing = save(self, { keepalive: true }).catch(() => false);
    departed = copy.sending;
    void departing.then((sent) => sent && saved()).then(() => quietly({ save: true }));
  };

  // -- beginning and end -----------------------------------------------------------------------------------------

  /** Goes on from a record, with the edits that were made before it was there; false: another has taken it. */
  const take = async (from: JournalRecord, isMine: boolean): Promise<boolean> => {
    const found = copyFrom(isMine ? from : { ...from, sending: null, pending: null, next: copy.next });
    // the other may have sent it as it was closed: asked for under its key, before anything is folded into it
    if (isMine && (from.number || !Object.keys(from.base).length)) compose(found, uuid);
    if (isMine && !(await journal!.write(record(undefined, found), [from]))) return false;
    const local = rebase(copy._sent, found._local, copy._local).state;
    Object.assign(copy, found, { _local: local } satisfies Partial<Copy>);
    return true;
  };

  /** Finishes what a client that is gone had begun, in its name. */
  const finish = async (orphan: JournalRecord): Promise<void> => {
    const theirs = copyFrom(orphan);
    const life = lives;
    const write = async (): Promise<boolean> => {
      if (!(await journal!.write(record(orphan, theirs)))) throw new Refused(TAKEN);
      return true;
    };
    while (isOpen) {
      try {
        await work({});
        if (life !== lives) return; // its session is gone: it stays written down, as all that was not saved there
        const errands: Errand = { ...self, _copy: theirs, write, _settled: () => {} };
        if (!theirs.number && !theirs.sending) await catchUp(errands);
        while (await save(errands));
        await work({ _look: true }); // the other tabs hear of it before the record is gone by which another could go on
        await write();
        peers?._forget(orphan.client);
        return publish();
      } catch (error) {
        if ((error as Refused).code === TAKEN) return;
        if (!isPassing(error as Refused)) return emit("error", { error });
        await new Promise<void>((resolve) => void clock.after(patience(), resolve));
      }
    }
  };

  const talk = (): Peers =>
    peersOf(
      found!.channel(self.id),
      () => client,
      () => (isPartial ? null : copy),
      (since, number, news) => {
        if (since === copy.number && !copy.sending && isMet) settled(settle(copy, apply(copy.base, news), number), since);
      },
      publish,
    );

  const undo: ((() => void) | undefined)[] = [];

  /** In whose place this client is. */
  let gone: string | undefined;

  /** Looks into the journal; what it goes on from. */
  const prepare = async (): Promise<[JournalRecord | null, orphans: JournalRecord[]]> => {
    found = await finding;
    ({ journal, _make: make } = found);
    const { id } = found;
    self.id = id;
    undo.push(
      journal.listen((_, error) => {
        publish();
        if (error) emit("error", { error });
      }),
    );
    const orphans = await journal.adopt(id, (orphan) => void finish(orphan));
    gone = orphans[0]?.client;
    let from: JournalRecord | null = orphans.shift() ?? null;
    if (!from || !(await take(from, true))) {
      from = await journal.load(id);
      if (from) await take(from, false);
    }
    if (copy._local !== copy._sent) void write();
    return [from, orphans];
  };

  const begin = async (): Promise<void> => {
    const [from, orphans] = await prepared;
    orphans.forEach((orphan) => void finish(orphan));
    peers = talk();
    if (gone) peers._forget(gone);
    publish();
    if (from) shown("copy");
    else if (make) settleReady[0]();
    undo.push(
      page.listen((event) => {
        if (event === "hidden" || event === "leaving") depart();
        else if (event !== "offline") {
          quietLooks = failures = 0;
          if (event === "back") {
            // what the others have said meanwhile nobody heard
            peers!.close();
            peers = talk();
          }
          void quietly({ save: true, _look: true });
          look();
        }
      }),
    );
    await quietly({ save: copy._local !== copy.base });
    undo.push(
      transport.listen?.(self.id, (news) => {
        if (news.kind === "turn") emit("turn", news);
        else {
          // a look at once also when it begins: what was said before nobody heard
          rhythm = 30_000;
          if (news.kind === "ready" || news.number > copy.number) look(true);
        }
      }),
    );
    look();
  };

  /** With what is published: id, state, number, status. */
  const session: Omit<Session<S>, keyof Snapshot<S>> & Inner = {
    ready,
    update(make) {
      change(make(view as S) as State);
    },
    set(target: S | Pointer, value?: Json) {
      change(typeof target === "string" ? apply(view, { set: { [target]: value! } }) : (target as State));
    },
    append(list, items) {
      change(apply(view, { append: { [list]: items } }));
    },
    saveNow,
    async restore(which) {
      await saveNow();
      const number = "number" in which ? which.number : (await ask("restore", which)).number;
      await ask("revert", { number, idempotency_key: uuid() });
      await work({ _look: true });
    },
    peek: async (which = {}) => (await ask("restore", which)).state as S,
    history: (of = {}) => ask("snapshots", of),
    diff: async (from, to) => (await ask("diff", { from, to })).differences,
    async label(label, number) {
      await saveNow();
      await ask("label", { label, number: number ?? copy.number });
    },
    async fork(of = {}) {
      await saveNow();
      return ask("fork", of);
    },
    subscribe: (listener) => on("change", listener),
    getSnapshot: () => snapshot,
    on,
    _inner: { environment, transport, _look: () => work({ _look: true }), _emit: emit },
    close: () => (closed ??= shut()), // a second time it would give up what the first one has kept
  };

  let closed: Promise<void> | undefined;
  const shut = async (): Promise<void> => {
    await begun;
    await quietly({ save: true, keepalive: true });
    isOpen = false;
    cancelSave();
    cancelLook();
    undo.forEach((undone) => undone?.());
    await write();
    isShut = true;
    peers?.close(!!unsaved(copy));
    await journal?.close(self.id);
  };

  publish();
  const prepared = prepare();
  last = prepared.catch((error: unknown) => {
    isOpen = false;
    settleReady[1](error);
  });
  const begun = begin().catch(() => {});

  return session as Session<S> & Inner;
}
