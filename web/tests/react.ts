/** What the tests of the hooks have in common: options of a session that saves when told to, and waiting. */

import { StrictMode, createElement, type ReactNode } from "react";
import { cleanup, waitFor } from "@testing-library/react";
import { afterEach } from "vitest";
import type { OpenOptions } from "../src/core/open.js";
import { FUNCTIONS, person, world } from "./server.js";

// Components go with their test: what comes later from a server finds nobody, and no window.
afterEach(cleanup);

/** Options for the functions, as somebody new, of a client that neither saves nor looks by itself. */
export const quiet = (more: Partial<OpenOptions> = {}): OpenOptions => ({
  url: FUNCTIONS,
  token: person(),
  poll: 0,
  debounce: 3_600_000,
  maxWait: 3_600_000,
  environment: world(),
  ...more,
});

/** React's strict mode, in which every effect runs twice. */
export const strict = ({ children }: { children: ReactNode }): ReactNode => createElement(StrictMode, null, children);

/** Waits until something holds; React shows meanwhile what there is to show. */
export const settled = (holds: () => boolean | Promise<boolean>): Promise<void> =>
  waitFor(
    async () => {
      if (!(await holds())) throw new Error(`did not come about: ${holds}`);
    },
    { timeout: 10_000, interval: 10 },
  );
