/** How everything here fails. */

import type { Code } from "../generated/codes.js";
import type { Failure, Json } from "./types.js";

/** A refusal by the server, or a failure to ask it. Match on `code`, never on the message. */
export class Refused extends Error implements Failure {
  override name = "Refused";

  constructor(
    readonly code: Code | (string & {}),
    readonly detail: Record<string, Json> = {},
    readonly status = 0,
    message = code as string,
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}
