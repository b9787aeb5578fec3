/** IndexedDB, in promises: a database that opens again when it was closed, deleted or is missing a part. */

const STORES = ["records", "parts"] as const;

/** A request's result. */
export const done = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** What is done in one transaction. */
export type Work<T> = (records: IDBObjectStore, parts: IDBObjectStore) => Promise<T>;

/** Runs a transaction, all or nothing; rejects with what the browser says. */
export type Run = <T>(mode: IDBTransactionMode, work: Work<T>) => Promise<T>;

const known: { [name: string]: Run } = {};

/** The database of this name. */
export const storeOf = (name: string): Run => (known[name] ??= make(name));

function make(name: string): Run {
  let opened: Promise<IDBDatabase> | undefined;

  const connect = async (version?: number): Promise<IDBDatabase> => {
    const request = indexedDB.open(name, version);
    request.onupgradeneeded = () => {
      for (const store of STORES)
        if (!request.result.objectStoreNames.contains(store)) request.result.createObjectStore(store);
    };
    const database = await done(request);
    const close = (): void => {
      database.close();
      opened = undefined;
    };
    database.onclose = database.onversionchange = close;
    if (STORES.every((store) => database.objectStoreNames.contains(store))) return database;
    close();
    return connect(database.version + 1);
  };

  const run = async <T>(mode: IDBTransactionMode, work: Work<T>, isAgain?: boolean): Promise<T> => {
    let transaction: IDBTransaction;
    try {
      transaction = (await (opened ??= connect())).transaction(STORES, mode);
    } catch (error) {
      opened = undefined;
      if (isAgain) throw error;
      return run(mode, work, true);
    }
    // a full store says so only at the end, and WebKit doesn't say why
    const end = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? { name: "QuotaExceededError" });
    });
    const result = work(...(STORES.map((store) => transaction.objectStore(store)) as [IDBObjectStore, IDBObjectStore]));
    result.catch(() => transaction.abort()).catch(() => {});
    await end;
    return result;
  };
  return run;
}
