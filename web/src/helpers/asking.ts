/** Asking for what few pages need: its addresses are added when it is asked for, so that no other page carries them. */

import { WAYS } from "../core/https.js";
import { connect, type Connection, type ConnectOptions } from "../core/open.js";

const MORE = {
  origin: "GET /sessions/:session_id/origin",
  record: "POST /sessions/:session_id/usage",
  usage: "GET /sessions/:session_id/usage",
  budget: "PUT /sessions/:session_id/budget",
  offer: "POST /sessions/offer",
  claim: "POST /sessions/claim",
};

/** What the options name, with these addresses. */
export function connectWithMore(options: ConnectOptions): Connection {
  Object.assign(WAYS, MORE);
  return connect(options);
}
