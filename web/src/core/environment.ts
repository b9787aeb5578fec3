/** What is there to run with. */

import { memoryEnvironment } from "./memory.js";
import type { Environment } from "./types.js";

let shared: Environment | undefined;

/** The environment of this page or process, made when it is first asked for. */
export const defaultEnvironment = (): Environment => (shared ??= memoryEnvironment());
