// The sizes of others, measured as ours are: what an app imports to keep a state in the browser. As JSON.

import { fileURLToPath } from "node:url";
import { size } from "../../../../web/measure/size.mjs";

const IMPORTS = {
  "TanStack offline-transactions": 'export * from "@tanstack/offline-transactions"',
  "TinyBase with IndexedDB": `export { createStore } from "tinybase/store";
    export { createIndexedDbPersister } from "tinybase/persisters/persister-indexed-db"`,
  "Yjs with y-indexeddb": 'export * from "yjs"; export { IndexeddbPersistence } from "y-indexeddb"',
  Dexie: 'export * from "dexie"',
  Replicache: 'export * from "replicache"',
};
const folder = fileURLToPath(new URL(".", import.meta.url));
console.log(JSON.stringify(Object.fromEntries(Object.entries(IMPORTS).map(([name, code]) => [name, size(code, folder)]))));
