// How large code is on its way to a browser: bundled and minified by esbuild, gzip -9. As a program: the package's
// own entries as JSON.

import { buildSync } from "esbuild";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const SOURCE = fileURLToPath(new URL("../src", import.meta.url));

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

/** Of one of the package's entries, with all it needs. */
export const sizeOf = (entry) => size(`export * from "./${entry}/index.js"`, SOURCE);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const entries = ["core", "react", "supabase", "crypto", "helpers"];
  console.log(JSON.stringify(Object.fromEntries(entries.map((entry) => [entry, sizeOf(entry)]))));
}
