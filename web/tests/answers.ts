/** Answers made and followed at random, and what has to be true of each when it is over. */

import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import { Refused } from "../src/core/refused.js";
import { turnsOf, type RunningTurn } from "../src/turns/index.js";
import type { Json, State } from "../src/core/types.js";
import type { Page } from "./pages.js";
import { ask } from "./server.js";

/** How a turn ended for whoever made it; `lost`: it was told that the turn is not its own any more. */
type End = "running" | "finished" | "lost" | "refused";

/** A turn as whoever makes it knows it. */
interface Made {
  id: string;
  page: Page<State>;
  running?: RunningTurn;
  end: End;
  /** What was handed to `write`. */
  said: Json[];
  /** The message it is finished with, if not the one made of its text. */
  message?: Json;
  /** Up to which chunk the server has said that it has them. */
  known: number;
}

/** A reader of a turn, through reloads. */
interface Followed {
  turn: string;
  page: Page<State>;
  seq: number;
  chunks: Json[];
  isOver: boolean;
}

/** Characters and values, however they were cut into chunks. */
const units = (chunks: Json[]): string[] => chunks.flatMap((chunk) => (typeof chunk === "string" ? chunk.split("") : [JSON.stringify(chunk)]));
const textOf = (chunks: Json[]): string => chunks.filter((chunk) => typeof chunk === "string").join("");

export interface Answers {
  /** Begins one, on a page. */
  begin(page: Page<State>): void;
  /** Goes on with one that runs: writes, or finishes it. */
  goOn(): void;
  /** Asks from a page for one to be stopped. */
  stop(page: Page<State>): void;
  /** Follows one on a page. */
  follow(page: Page<State>): void;
  /** The maker of one is silent for longer than its lease. */
  fallSilent(): void;
  /** What was followed on a page that is gone goes on in another. */
  reloaded(gone: Page<State>, page: Page<State>): void;
  /** Finishes what can be finished and follows all to the end. */
  end(page: Page<State>): void;
  /** Whether nobody makes or follows one any more. */
  areOver(): boolean;
  /** Checks all of them against the server; with `gone` their messages may not be in the latest state any more. */
  check(token: string, session: string, state: State, gone: boolean): Promise<void>;
}

export function answersOf(random: () => number, log: (entry: string) => void): Answers {
  const made: Made[] = [];
  const followed: Followed[] = [];
  let count = 0;
  let isEnding = false;
  const chance = (of: number): boolean => random() < of;
  const oneOf = <T>(all: T[]): T | undefined => all[Math.floor(random() * all.length)];
  const mine = (): Made[] => made.filter((one) => one.end === "running" && one.running && !one.page.isDead());

  const finish = (one: Made): void => {
    const { running } = one;
    delete one.running;
    const given = chance(0.3) && !running!.signal.aborted;
    if (given) one.message = { role: "assistant", turn: one.id, content: "whole" };
    const changes = chance(0.3) ? { set: { "/answered": one.id } } : undefined;
    running!.finish({ ...(given && { message: one.message! }), ...(changes && { changes }) }).then(
      () => void (one.end = "finished"),
      (error: unknown) => {
        if (error instanceof Refused && error.code === "turn_over") one.end = "lost";
        else throw error;
      },
    );
  };

  const follow = (reader: Followed): void => {
    followed.push(reader);
    void (async () => {
      for await (const { chunks, seq, status } of turnsOf(reader.page.session).follow(reader.turn, { after: reader.seq })) {
        reader.chunks.push(...chunks);
        reader.seq = seq;
        reader.isOver = status !== "running";
      }
    })().catch((error: unknown) => {
      if (!(error instanceof Refused && error.code === "turn_not_found")) throw error;
      followed.splice(followed.indexOf(reader), 1); // it never began
    });
  };

  return {
    begin(page) {
      const one: Made = { id: randomUUID(), page, end: "running", said: [], known: 0 };
      page.session.on("turn", ({ turn, seq }) => turn === one.id && one.end === "running" && !page.isDead() && (one.known = Math.max(one.known, seq)));
      turnsOf(page.session).start({ id: one.id, message: { role: "assistant", turn: one.id } }).then(
        (running) => {
          one.running = running;
          if (isEnding) finish(one);
        },
        () => void (one.end = "refused"), // another runs, or what was waiting could not be saved
      );
      made.push(one);
      log(`begin ${one.id} on ${page.name}`);
    },
    goOn() {
      const one = oneOf(mine());
      if (!one) return;
      const { running, said } = one;
      if (running!.signal.aborted || chance(0.15)) return finish(one);
      const word = chance(0.1) ? { tool: ++count } : chance(0.1) ? `${++count} `.padEnd(5_000, "long ") : chance(0.1) ? "😀" : `${++count} `;
      for (const chunk of word === "😀" ? word.split("") : [word]) {
        running!.write(chunk);
        said.push(chunk);
      }
    },
    stop(page) {
      const one = oneOf(made);
      if (one) turnsOf(page.session).stop(one.id).catch(() => {}); // the line, or it never began
    },
    follow(page) {
      const one = oneOf(made.filter(({ running, end }) => running ?? end !== "running"));
      if (one) follow({ turn: one.id, page, seq: 0, chunks: [], isOver: false });
    },
    fallSilent: () => oneOf(mine())?.page.stall(1_100),
    reloaded(gone, page) {
      for (const reader of followed.filter((one) => one.page === gone && !one.isOver)) {
        followed.splice(followed.indexOf(reader), 1);
        follow({ ...reader, chunks: [...reader.chunks], page });
      }
    },
    end(page) {
      isEnding = true;
      for (const one of mine()) finish(one);
      // a turn that nobody asks for stays as it was left
      for (const { id } of made) {
        if (!followed.some(({ turn, page }) => turn === id && !page.isDead())) {
          follow({ turn: id, page, seq: 0, chunks: [], isOver: false });
        }
      }
    },
    areOver: () =>
      made.every(({ end, page }) => end !== "running" || page.isDead()) && followed.every(({ isOver, page }) => isOver || page.isDead()),
    async check(token, session, state, gone) {
      const messages = (state["messages"] ?? []) as Json[];
      for (const one of made) {
        const look = (await ask(token, "GET", `/sessions/${session}/turns/${one.id}?after=0`)) as Record<string, Json>;
        const its = messages.filter((message) => (message as State | null)?.["turn"] === one.id);
        if (look["code"] === "turn_not_found") {
          expect([its, one.end === "finished", one.known]).toEqual([[], false, 0]);
          continue;
        }
        // a request that came late may have begun one that was refused before
        if (one.end === "refused") {
          expect([its, look["next_seq"]]).toEqual([[], 1]);
          continue;
        }
        const { status, chunks, position } = look as { status: string; chunks: Json[]; position: number | null };
        const [sent, kept] = [units(one.said), units(chunks)];
        expect(kept).toEqual(sent.slice(0, kept.length));
        expect(Number(look["next_seq"]) - 1).toBeGreaterThanOrEqual(one.known);
        if (one.end === "finished") {
          expect(kept.length).toBe(sent.length);
          expect(status).toMatch(/^(done|stopped)$/);
        } else expect(status).toMatch(one.page.isDead() ? /^(done|stopped|interrupted)$/ : /^interrupted$/);
        const text = textOf(chunks);
        const message = status === "interrupted" ? undefined : one.message;
        const hasMessage = !!message || text !== "" || chunks.some((chunk) => chunk === "");
        const expected = message ?? { role: "assistant", turn: one.id, content: text, ...(status !== "done" && { status }) };
        if (!gone) {
          expect(its).toEqual(hasMessage ? [expected] : []);
          expect(position === null ? undefined : messages[position]).toEqual(its[0]);
        } else expect(its.length).toBeLessThanOrEqual(1);
        for (const reader of followed.filter(({ turn }) => turn === one.id)) {
          const seen = units(reader.chunks);
          expect(seen).toEqual(kept.slice(0, seen.length));
          if (!reader.page.isDead()) expect([reader.isOver, seen.length]).toEqual([true, kept.length]);
        }
      }
    },
  };
}
