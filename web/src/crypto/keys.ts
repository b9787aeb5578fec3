/** Keys: from bytes, from a passphrase, made here; kept so that a page can use them and nobody read them out. */

/** A key and its id: a name that the app gives, and four bytes that tell two keys of one name apart. */
export interface Key {
  id: string;
  key: CryptoKey;
}

/** OWASP, Password Storage Cheat Sheet: PBKDF2 with HMAC-SHA-256. */
export const ITERATIONS = 600_000;
const AES = { name: "AES-GCM", length: 256 } as const;

const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

async function named(name: string, key: CryptoKey): Promise<Key> {
  if (!/^\w{1,32}$/.test(name)) throw new TypeError("a key's name has 1 to 32 letters, digits or underscores");
  // the tag of nothing under the nonce that no value ever gets
  const parameters = { name: "AES-GCM", iv: new Uint8Array(12), additionalData: utf8("asyouwere key check") };
  const tag = new Uint8Array(await crypto.subtle.encrypt(parameters, key, new Uint8Array()));
  return { id: `${name}-${[...tag.slice(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`, key };
}

/** A key of the app's own: 32 bytes. */
export async function importKey(bytes: Uint8Array<ArrayBuffer>, name = "k1"): Promise<Key> {
  if (bytes.length !== 32) throw new TypeError("a key has 32 bytes");
  return named(name, await crypto.subtle.importKey("raw", bytes, AES, false, ["encrypt", "decrypt"]));
}

/**
 * The key of a passphrase: PBKDF2 with HMAC-SHA-256. `salt`: the same on every device of a person and another for
 * everybody, at least 8 bytes; the user's id does. Takes about a quarter of a second, on purpose.
 */
export async function passphraseKey(
  passphrase: string,
  salt: string,
  { name = "k1", iterations = ITERATIONS }: { name?: string; iterations?: number } = {},
): Promise<Key> {
  if (utf8(salt).length < 8) throw new TypeError("a salt has at least 8 bytes");
  const secret = await crypto.subtle.importKey("raw", utf8(passphrase.normalize("NFC")), "PBKDF2", false, ["deriveKey"]);
  const parameters = { name: "PBKDF2", hash: "SHA-256", salt: utf8(salt), iterations };
  return named(name, await crypto.subtle.deriveKey(parameters, secret, AES, false, ["encrypt", "decrypt"]));
}

/** A new random key. It is nowhere but where `keepKey` keeps it: whoever loses that has lost the session. */
export const newKey = async (name = "k1"): Promise<Key> =>
  named(name, (await crypto.subtle.generateKey(AES, false, ["encrypt", "decrypt"])) as CryptoKey);

/** ms. A page that was left, and frozen, while it made the database lets no other one in. */
const TIMEOUT = 5_000;

function store<T>(mode: IDBTransactionMode, ask: (keys: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  return new Promise<T>((resolve, reject) => {
    timer = setTimeout(() => reject(new Error("IndexedDB does not answer")), TIMEOUT);
    const opening = indexedDB.open("asyouwere keys");
    opening.onupgradeneeded = () => opening.result.createObjectStore("keys");
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const database = opening.result;
      const transaction = database.transaction("keys", mode);
      const request = ask(transaction.objectStore("keys"));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
      transaction.addEventListener("complete", () => database.close());
      transaction.addEventListener("abort", () => database.close());
    };
  }).finally(() => clearTimeout(timer));
}

/** Keeps a key in this browser, by a place of your own naming (such as the user's id). */
export const keepKey = async (place: string, key: Key): Promise<void> =>
  void (await store("readwrite", (keys) => keys.put(key, place)));

/** A key that was kept; undefined: none. */
export const keptKey = (place: string): Promise<Key | undefined> => store("readonly", (keys) => keys.get(place) as IDBRequest<Key | undefined>);

/** Forgets a kept key: sign-out. */
export const forgetKey = async (place: string): Promise<void> => void (await store("readwrite", (keys) => keys.delete(place)));
