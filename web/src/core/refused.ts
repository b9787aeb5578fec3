/** How everything here fails. */

import type { Code } from "../generated/codes.js";
import type { Failure, Json } from "./types.js";

/** A refusal by the server, or a failure to ask it. Match on `code`, never on the message. */
export class Refused extends Error implements Failure {
  override name = "Refused";
  declare readonly code: Code | (string & {});
  declare readonly detail: Record<string, Json>;
  declare readonly status: number;
  declare readonly retryAfter?: number;

  constructor(
    code: Code | (string & {}),
    detail: Record<string, Json> = {},
    status = 0,
    message = code as string,
    retryAfter?: number,
  ) {
    super(message);
    Object.assign(this, { code, detail, status, retryAfter });
  }
}
