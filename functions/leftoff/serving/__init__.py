"""What every function does alike, whatever it is for: routing, CORS, tokens, bodies, errors, the request log."""
