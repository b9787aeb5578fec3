import react from "@vitejs/plugin-react";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const source = (path: string) => fileURLToPath(new URL(`../src/${path}`, import.meta.url));

export default defineConfig({
  plugins: [react()],
  resolve: {
    // The package itself, from its sources in this clone: what the page shows is what is published.
    alias: [
      { find: /^asyouwere$/, replacement: source("core/index.ts") },
      { find: /^asyouwere\/(react|react\/turns|helpers)$/, replacement: source("$1/index.ts") },
    ],
    dedupe: ["react", "react-dom"],
  },
  build: { target: "es2022", assetsInlineLimit: 0, chunkSizeWarningLimit: 900 },
});
