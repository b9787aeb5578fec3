// Makes dist/ (npm run build): each entry bundled for size, what they share in chunks, with source maps; and types.
//
// A property whose name begins with an underscore is the package's own: it gets a shorter name here. So what others
// see has none: the public types, what is sent and stored, and what tabs tell each other.

import { buildSync } from "esbuild";
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export const ENTRIES = ["core", "react", "helpers", "supabase", "crypto"];

/** The code of all entries, in a folder. */
export const bundle = (folder) =>
  buildSync({
    entryPoints: ENTRIES.map((entry) => here(`src/${entry}/index.ts`)),
    outbase: here("src"),
    outdir: folder,
    chunkNames: "chunks/[hash]",
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    external: ["react"],
    minify: true,
    mangleProps: /^_[a-z]/,
    sourcemap: true,
  });

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  rmSync(here("dist"), { recursive: true, force: true });
  bundle(here("dist"));
  execFileSync(process.execPath, [here("node_modules/typescript/bin/tsc"), "-p", here("tsconfig.build.json")], { stdio: "inherit" });
}
