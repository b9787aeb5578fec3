"""What every function does alike: routing, CORS, tokens, bodies, errors, the request log."""
