/** What the tests of the hooks have in common: options of a session that saves when told to, and waiting. */

import { StrictMode, createElement, type ReactNode } from "react";
import { act } from "@testing-library/react";
import type { OpenOptions } from "../src/core/open.js";
import { FUNCTIONS, person, world } from "./server.js";
import { until } from "./lines.js";

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

/** Waits until something holds, and lets React show it. */
export const settled = (holds: () => boolean | Promise<boolean>): Promise<void> => act(() => until(holds));
