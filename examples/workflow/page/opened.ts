import type { ConnectOptions } from "asyouwere";
import { signIn, token, user } from "../../signIn";

const { url } = await signIn();

/** Where, and as whom. */
export const options: ConnectOptions = { url, token, person: user };

/** The workflow of an id; without one it is the person's own, one by its key. */
export const wanted = new URLSearchParams(location.search).get("session");

/** What went wrong, for people. */
export function sentence({ code, message }: Error & { code?: string }): string {
  if (code === "network") return "The server can't be reached: that has to wait. What you draw is kept.";
  return code === "key_taken" ? "There is a branch of this name already." : message;
}

export const linkTo = (id: string): string => `?user=${encodeURIComponent(user)}&session=${encodeURIComponent(id)}`;
