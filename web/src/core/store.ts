/** IndexedDB, in promises: a database that opens again when it was closed, deleted or is missing a part. */

export const RECORDS = "records";
export const PARTS = "parts";
export const VALUES = "values";
export const ASIDE = "aside";
const STORES = [RECORDS, PARTS, VALUES, ASIDE];

/** A request's result. */
export const done = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** Resolves when a transaction is committed. */
const committed = (transaction: IDBTransaction): Promise<void> =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    // a full store says so here only; WebKit says nothing at all
    transaction.onabort = () => reject(transaction.error ?? new DOMException("aborted", "QuotaExceededError"));
  });

/** All keys that begin with these. */
export const beginning = (...key: IDBValidKey[]): IDBKeyRange => IDBKeyRange.bound(key, [...key, []]);

/** What is done in one transaction: `store` by name. */
export type Work<T> = (store: (name: string) => IDBObjectStore) => Promise<T>;

export class Store {
  #open: Promise<IDBDatabase> | null = null;

  constructor(
    private readonly name: string,
    private readonly factory: IDBFactory,
  ) {}

  /** All or nothing; rejects with what the browser says. A connection that was closed meanwhile is opened once more. */
  async run<T>(mode: IDBTransactionMode, work: Work<T>): Promise<T> {
    for (let again = true; ; again = false) {
      let transaction: IDBTransaction;
      try {
        transaction = (await (this.#open ??= this.#connect())).transaction(STORES, mode);
      } catch (error) {
        this.#open = null;
        if (again) continue;
        throw error;
      }
      const end = committed(transaction);
      end.catch(() => {});
      try {
        const result = await work((name) => transaction.objectStore(name));
        await end;
        return result;
      } catch (error) {
        try {
          transaction.abort();
        } catch {
          // it has ended already
        }
        throw transaction.error ?? error;
      }
    }
  }

  async #connect(version?: number): Promise<IDBDatabase> {
    const request = this.factory.open(this.name, version);
    request.onupgradeneeded = () => {
      for (const name of STORES)
        if (!request.result.objectStoreNames.contains(name))
          request.result.createObjectStore(name, name === ASIDE ? { autoIncrement: true } : {});
    };
    const database = await done(request);
    if (STORES.some((name) => !database.objectStoreNames.contains(name))) {
      database.close();
      return this.#connect(database.version + 1);
    }
    const forget = () => {
      database.close();
      this.#open = null;
    };
    database.onclose = database.onversionchange = forget;
    return database;
  }
}
