/**
 * The same session in other tabs of this browser. Each tab saves what it has changed itself; meanwhile the others
 * show it, laid over their own copy, and what one has heard from the server all know.
 */

import { apply } from "./changes.js";
import { unsaved, type Copy } from "./copy.js";
import { rebase } from "./rebase.js";
import type { Changes, Channel, Delta, State } from "./types.js";

/** What a tab tells the others. */
interface Word {
  from: string;
  /** Answer, whoever hears this: somebody is new here. */
  hello?: boolean;
  /** The tab is gone, or done with the session. */
  bye?: boolean;
  number: number;
  /** What it has not saved yet. */
  changes: Changes | null;
  /** How it came to its number from the one before. */
  since?: number | undefined;
  news?: Changes | Delta | undefined;
}

/** What a session needs of it. */
export interface Peers {
  /** Tells the others how it is here, and what led there, if that is new. */
  _tell(since?: number, news?: Changes | Delta): void;
  /** A state with what the other tabs have not saved yet. */
  _over(local: State): State;
  /** A client is gone, and what it had not saved is here or on the server: nobody shows it any more. */
  _forget(client: string): void;
  /** With `isLeft`, what it had not saved is shown on, until whoever finishes it says so. */
  close(isLeft?: boolean): void;
}

/**
 * Begins to talk. `client`: who this is, by now. `copy`: what is here now; null as long as nothing is known. `heard`:
 * called with what another tab has learnt, to be folded in if nothing is under way. `changed`: what is shown may have
 * changed.
 */
export function peersOf(
  channel: Channel,
  client: () => string,
  copy: () => Copy | null,
  heard: (since: number, number: number, news: Changes | Delta) => void,
  changed: () => void,
): Peers {
  const shown = new Map<string, { base: State; mine: State }>();
  /** The last word of those who are further than this tab, to be taken when it has come there: they may say no more. */
  const held = new Map<string, Word>();

  const post = (word: Partial<Word>): void => {
    const mine = copy();
    channel.post({ from: client(), number: mine?.number ?? 0, changes: mine && unsaved(mine), ...word });
  };

  /** Shows what a tab has not saved, if it is of the number that is here. */
  const take = (word: Word): void => {
    const { from, number, changes } = word;
    const mine = copy();
    held.delete(from);
    if (!mine || number > mine.number) return void held.set(from, word);
    if (!changes || number < mine.number) shown.delete(from);
    else
      try {
        shown.set(from, { base: mine.base, mine: apply(mine.base, changes) });
      } catch {
        // of another version of this package, maybe: it is seen when it is saved
        shown.delete(from);
      }
  };

  channel.listen((message) => {
    const word = Object(message) as Word;
    const before = copy()?.number;
    if (word.news) heard(word.since!, word.number, word.news);
    take(word.bye ? { ...word, changes: null, number: 0 } : word);
    const mine = copy();
    if (word.hello || (mine && mine.number !== before && unsaved(mine))) post({});
    changed();
  });
  post({ hello: true });

  return {
    _tell: (since, news) => post({ since, news }),
    _over(local) {
      for (const word of [...held.values()]) take(word);
      let state = local;
      for (const { base, mine } of shown.values()) state = rebase(base, state, mine).state;
      return state;
    },
    _forget(gone) {
      shown.delete(gone);
      held.delete(gone);
      post({ from: gone, bye: true });
    },
    close(isLeft) {
      if (!isLeft) post({ bye: true });
      channel.close();
    },
  };
}
