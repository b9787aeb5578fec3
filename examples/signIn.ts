/** Stands for your app's sign-in: who uses the page, and an access token that is renewed before it ends. */

interface SignedIn {
  user: string;
  token: string;
  /** Seconds since 1970. */
  expires_at: number;
  /** Where the functions are. */
  url: string;
  /** Settings of the example that its page is to know. */
  settings: Record<string, number>;
}

/** Whom the page is for: `?user=ben`, by default ada. */
export const user = new URLSearchParams(location.search).get("user") ?? "ada";

let signedIn: Promise<SignedIn> | null = null;

async function ask(): Promise<SignedIn> {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("/sign-in", { method: "POST", headers, body: JSON.stringify({ user }) });
  if (answer.status === 403) throw new Error(`There is nobody called “${user}” here: try ?user=ada or ?user=ben.`);
  if (!answer.ok) throw new Error(`Signing in was answered with ${answer.status}.`);
  return (await answer.json()) as SignedIn;
}

/** Who is signed in and where the functions are. `refresh`: the token was refused, get another one. */
export async function signIn(refresh = false): Promise<SignedIn> {
  const known = await signedIn?.catch(() => null);
  if (known && !refresh && known.expires_at * 1000 > Date.now() + 5_000) return known;
  signedIn = ask();
  // Where the first one fails there is no page yet to say so.
  const root = document.getElementById("root")!;
  if (!root.hasChildNodes()) signedIn.catch(({ message }: Error) => root.append(message));
  return signedIn;
}

/** Nobody is signed in any more. */
export const signOut = (): void => void (signedIn = null);

/** For `open({ token })`. */
export const token = async (refresh?: boolean): Promise<string> => (await signIn(refresh)).token;
