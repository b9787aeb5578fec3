/**
 * Answers in the making: one that goes on through reloads, on other devices, and when its server dies.
 *
 *     const turn = await turnsOf(session).start();
 *     turn.write("Once upon ");
 *     await turn.finish();
 */

export { turnsOf } from "./turns.js";
export type * from "./surface.js";
