// How large code is on its way to a browser: what is published, bundled and minified by the app's esbuild, gzip -9. As
// a program: the package's own entries as JSON.

import { buildSync } from "esbuild";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { bundle, ENTRIES } from "../build.mjs";

/** Bytes of what `code` exports, its imports found from `folder`. React is the app's own. */
export const size = (code, folder) => {
  const { outputFiles } = buildSync({
    stdin: { contents: code, resolveDir: folder },
    bundle: true,
    minify: true,
    format: "esm",
    external: ["react", "react-dom"],
    write: false,
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
};

/** Of each of the package's entries, with all it needs. */
export const sizes = async () => {
  const folder = mkdtempSync(join(tmpdir(), "asyouwere-size-"));
  try {
    await bundle(folder);
    return Object.fromEntries(ENTRIES.map((entry) => [entry, size(`export * from "./${entry}/index.js"`, folder)]));
  } finally {
    rmSync(folder, { recursive: true });
  }
};

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(JSON.stringify(await sizes()));
