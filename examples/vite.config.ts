import react from "@vitejs/plugin-react";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  plugins: [react()],
  resolve: {
    // The package from its sources in this clone. In an app of your own: `npm install asyouwere`, and nothing here.
    alias: [
      { find: /^asyouwere$/, replacement: here("../web/src/core/index.ts") },
      { find: /^asyouwere\/(turns|react|react\/turns|helpers|crypto|supabase)$/, replacement: here("../web/src/$1/index.ts") },
      // The package's sources look for React beside them, where only its tests have one.
      { find: /^(react|react-dom)$/, replacement: here("node_modules/$1") },
    ],
    dedupe: ["react", "react-dom"],
  },
  // No inline scripts, styles or pictures: the pages' policy allows none.
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 900 },
});
