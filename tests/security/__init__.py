"""No one gets in: tokens, oracles, input, privacy. Runs by `python -m tests.trust <name>`, as all of them."""
