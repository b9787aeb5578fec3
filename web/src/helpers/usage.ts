/** What calls of models cost, and when a budget comes to its end. */

import type { ConnectOptions } from "../core/open.js";
import { PRICES, type Price } from "../generated/prices.js";
import type { Recorded, SessionUsage, UsageRequest } from "../generated/schemas.js";
import { connectWithMore } from "./asking.js";

export { PRICES, type Price };

/** Tokens of one call; the cached ones are some of the input's. */
export interface Tokens {
  input: number;
  output: number;
  cached?: number;
}

/** What a call costs by a table of prices, the app's own or the dated one; undefined: the model is not in it. */
export function costOf(model: string, { input, output, cached = 0 }: Tokens, prices = PRICES): number | undefined {
  const price = prices[model];
  // to twelve decimals, as it is kept: sums of doubles have digits that mean nothing
  return price && Number((((input - cached) * price.input + cached * price.cached + output * price.output) / 1e6).toFixed(12));
}

/** A budget of which more than 80 %, or all, is used; told once each. */
export interface BudgetEvent {
  /** The session's own budget, or that of its owner, who alone is told. */
  of: "session" | "user";
  cost: number;
  budget: number;
  /** 0.8 is 80 %. */
  used: number;
  isOver: boolean;
}

/** A call of a model, as it is recorded. */
export interface Call extends Tokens {
  model: string;
  /** In the app's currency; by default what `costOf` says, or 0. */
  cost?: number;
  /** The answer that it was made for. */
  turn?: string;
  /** The same again is counted once: keep it to try again after a failure. By default a new one. */
  key?: string;
}

/** What one session costs. */
export interface Usage {
  /** Records a call, as owner or editor. What is billed has to be recorded by a server: a page can say what it likes. */
  record(call: Call): Promise<Recorded>;
  /** In all, or what one turn has cost. */
  read(turn?: string): Promise<SessionUsage>;
  /** How much it is to cost in all; null: no budget. The owner's to say. */
  setBudget(budget: number | null): Promise<SessionUsage>;
  on(event: "budget", listener: (event: BudgetEvent) => void): () => void;
}

const WARNING = 0.8;

/** What the session of an id costs. */
export function usageOf(options: ConnectOptions, session_id: string): Usage {
  const { environment, transport } = connectWithMore(options);
  const listeners = new Set<(event: BudgetEvent) => void>();
  const levels = { session: 0, user: 0 };
  const tell = (of: BudgetEvent["of"], used: number | null, cost: number | null, budget: number | null): void => {
    const level = used === null ? 0 : Number(used >= WARNING) + Number(used >= 1);
    if (level > levels[of]) {
      listeners.forEach((listener) => listener({ of, cost: cost!, budget: budget!, used: used!, isOver: level > 1 }));
    }
    levels[of] = level;
  };
  const heard = <T extends SessionUsage | Recorded>(told: T): T => {
    tell("session", told.used, told.cost, told.budget);
    if ("user_used" in told) tell("user", told.user_used, told.user_cost, told.user_budget);
    return told;
  };
  return {
    async record({ model, input, output, cached = 0, cost, turn, key = environment.uuid() }) {
      const args: UsageRequest = {
        model,
        input_tokens: input,
        output_tokens: output,
        cached_tokens: cached,
        cost: cost ?? costOf(model, { input, output, cached }) ?? 0,
        idempotency_key: key,
        ...(turn !== undefined && { turn_id: turn }),
      };
      return heard(await transport.call("record", { session_id, ...args }));
    },
    async read(turn) {
      const told = await transport.call("usage", { session_id, ...(turn !== undefined && { turn_id: turn }) });
      return turn === undefined ? heard(told) : told;
    },
    setBudget: async (budget) => heard(await transport.call("budget", { session_id, budget })),
    on(_, listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
