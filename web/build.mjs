// Makes dist/ (npm run build): each entry bundled for size, what they share in chunks, with source maps; and types.
//
// A property whose name begins with an underscore is the package's own: it gets a shorter name here. So what others
// see has none: the public types, what is sent and stored, and what tabs tell each other.

import { buildSync } from "esbuild";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { minify } from "terser";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** What a page may import; "node" is for processes. */
export const ENTRIES = ["core", "turns", "react", "react/turns", "helpers", "supabase", "crypto"];

const ALL = [...ENTRIES, "node"];

/** The code of all entries, in a folder. */
export async function bundle(folder) {
  const { outputFiles } = buildSync({
    entryPoints: ALL.map((entry) => here(`src/${entry}/index.ts`)),
    outbase: here("src"),
    outdir: folder,
    chunkNames: "chunks/[hash]",
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    external: ["react", "node:*"],
    mangleProps: /^_[a-z]/,
    sourcemap: "external",
    write: false,
  });
  const contents = Object.fromEntries(outputFiles.map(({ path, text }) => [path, text]));
  for (const path of Object.keys(contents).filter((path) => path.endsWith(".js"))) {
    const { code, map } = await minify(contents[path], {
      module: true,
      // Names are left to the app's own bundler, and functions stand where they are: written into others they cost
      // more than their call, by the names that they can't share there.
      mangle: false,
      compress: { ecma: 2022, passes: 3, reduce_funcs: false, inline: 1 },
      format: { ecma: 2022 },
      sourceMap: { content: contents[`${path}.map`], includeSources: true, url: `${basename(path)}.map` },
    });
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, code);
    writeFileSync(`${path}.map`, map);
  }
}

/** Deletes the types of what no entry tells of: they are the package's own. */
function prune(folder) {
  const told = new Set();
  const follow = (path) => {
    if (told.has(path)) return;
    told.add(path);
    for (const [, to] of readFileSync(path, "utf8").matchAll(/["'](\.[^"']*)\.js["']/g)) follow(resolve(dirname(path), `${to}.d.ts`));
  };
  ALL.forEach((entry) => follow(resolve(folder, entry, "index.d.ts")));
  for (const path of readdirSync(folder, { recursive: true }).map((name) => resolve(folder, name)))
    if (path.endsWith(".d.ts") && !told.has(path)) rmSync(path);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  rmSync(here("dist"), { recursive: true, force: true });
  await bundle(here("dist"));
  execFileSync(process.execPath, [here("node_modules/typescript/bin/tsc"), "-p", here("tsconfig.build.json")], { stdio: "inherit" });
  prune(here("dist"));
}
