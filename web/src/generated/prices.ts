// Made from spec/prices.json by `make generate`: change that file, never this one.

/** What a million tokens cost: of the input, of those of it from the provider's cache, of the output. */
export interface Price {
  input: number;
  cached: number;
  output: number;
}

/** USD, as of 2026-06-21. Prices are the app's: take its own if there is one. */
export const PRICES: Record<string, Price> = {
  "gpt-5.5": { input: 5, cached: 0.5, output: 30 },
  "gpt-5.4": { input: 2.5, cached: 0.25, output: 15 },
  "gpt-5.4-mini": { input: 0.75, cached: 0.075, output: 4.5 },
  "gpt-5.4-nano": { input: 0.2, cached: 0.02, output: 1.25 },
  "gpt-4.1": { input: 2, cached: 2, output: 8 },
  "gpt-4.1-mini": { input: 0.4, cached: 0.4, output: 1.6 },
  "claude-opus-4-8": { input: 5, cached: 0.5, output: 25 },
  "claude-sonnet-4-6": { input: 3, cached: 0.3, output: 15 },
  "claude-haiku-4-5": { input: 1, cached: 0.1, output: 5 },
  "local-demo": { input: 1000, cached: 1000, output: 5000 },
};
