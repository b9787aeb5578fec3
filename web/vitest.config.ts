import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    testTimeout: 30_000,
    coverage: { provider: "v8", include: ["src/core/**", "src/react/**"], exclude: ["src/core/types.ts"], reporter: ["text", "json-summary"] },
  },
});
