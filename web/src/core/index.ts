/**
 * asyouwere: a chat or agent session that saves by itself and picks up exactly as you were.
 *
 *     const session = open({ url, token, key: "trip" });
 *     await session.ready;
 *     session.append("/messages", [{ role: "user", content: "Hello" }]);
 */

export { open, type ConnectOptions, type OpenOptions, type WhichSession } from "./open.js";
export { Refused } from "./refused.js";
export { apply, diff } from "./changes.js";
export { memoryEnvironment } from "./memory.js";
export type * from "./surface.js";
export type * from "./types.js";
export type { Behaviour } from "./behaviour.js";
export type { Doubt } from "./rebase.js";
export type { Operation, Operations } from "./operations.js";
export type { Token } from "./requests.js";
export type { Code } from "../generated/codes.js";
