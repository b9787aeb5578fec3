import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    testTimeout: 60_000,
    coverage: {
      provider: "v8",
      include: ["src/core/**", "src/react/**", "src/helpers/**", "src/supabase/**"],
      exclude: [
        // types alone
        "**/{types,surface,operations}.ts",
        // what only a browser has: tests/web/chromium tries it there
        "**/{environment,holders,indexeddb,page,store}.ts",
      ],
      reporter: ["text", "json-summary"],
    },
  },
});
