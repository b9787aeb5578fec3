/**
 * Sessions that nobody but their people can read: values are sealed before they leave the device.
 *
 *     const key = (await keptKey(user)) ?? (await passphraseKey(passphrase, user));
 *     const session = open({ url, token, key: "trip", encryption: { key } });
 *
 * The format, and what it protects from, is in spec/encryption.md.
 */

import { connect, open as openPlain, type OpenOptions } from "../core/open.js";
import type { Session } from "../core/surface.js";
import type { State } from "../core/types.js";
import { encrypted, type Encryption } from "./transport.js";

/** Opens a session as the core's `open` does, with everything sealed. */
export function open<S = State>({ encryption, ...options }: OpenOptions<S> & { encryption: Encryption }): Session<S> {
  return openPlain<S>({ ...(options as OpenOptions<S>), transport: encrypted(connect(options).transport, encryption) });
}

export { encrypted, reseal, type Encryption } from "./transport.js";
export { forgetKey, importKey, ITERATIONS, keepKey, keptKey, newKey, passphraseKey, type Key } from "./keys.js";
