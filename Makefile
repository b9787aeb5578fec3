# One command each; `make` lists them. All set up .venv first, which is instant when it is done.

PYTEST_WORKERS ?= 2
PYTEST = .venv/bin/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal -q
CACHE = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/asyouwere
# What is quick and says most: pure code, SQL, the functions over a direct connection, the pages' examples.
QUICK = tests/unit tests/sql tests/functions tests/examples
TRUST_RUNS = crash lines convergence faults cleanup turns clients killed tokens oracles fuzz bombs privacy neighbours

.DEFAULT_GOAL := help
.PHONY: help run demo example check test apps bench figures sequences lint generate lock audit clean $(TRUST_RUNS)

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Postgres, the functions and a Supabase on this machine, and what to try first
	@scripts/setup run
	@.venv/bin/asyouwere run

demo: ## save, crash, restore: a scripted conversation, checked, with a table and a picture
	@scripts/setup run
	@.venv/bin/asyouwere demo

example: ## one of the apps in examples/, on top of the same: make example NAME=sidebar SET="idle_seconds=60"
	@scripts/setup example
	@.venv/bin/python -m examples.serve $(NAME) $(SET)

check: lint ## linters, types and the quick tests, for everyday work: under three minutes
	$(PYTEST) -m 'not slow' -k 'not postgrest' $(QUICK)

# What failed (1) is run once more with the machine to itself, and named: a fault fails again, and a busy machine does
# not turn a good change away. A third that fails again ends it.
RETRY = .venv/bin/python -m pytest -v --maxfail 3 --last-failed --last-failed-no-failures none
test: lint ## linters, types and all tests; what failed once more alone
	$(PYTEST) || { [ $$? = 1 ] && echo 'make: once more, alone: what failed' && $(RETRY); }

apps: ## the browser package, packed, in apps by Next.js's and Vite's templates, in Chromium; minutes, 470 MB
	@scripts/setup test
	ASYOUWERE_TEST_APPS=1 .venv/bin/python -m pytest -q tests/web/apps

bench: ## the numbers in docs/benchmarks.md, measured here; make bench BENCH=--quick takes some minutes
	@scripts/setup test
	@.venv/bin/python -m tests.bench $(BENCH)

figures: ## the browser package's numbers in web/README.md, measured here, in Chromium; FIGURES="--only sizes"
	@scripts/setup test
	@.venv/bin/python -m tests.web.figures $(FIGURES)

sequences: ## browser clients at random: 20,000 sequences of edits, turns, losses; SEQUENCES="--seed 7"
	@scripts/setup test
	@.venv/bin/python -m tests.web.sequences $(SEQUENCES)

lint: ## linters and types alone
	@scripts/setup test
	.venv/bin/ruff check --quiet
	.venv/bin/mypy
	.venv/bin/zizmor --offline --quiet --no-progress .github

generate: ## write anew what is made from other files; scripts/generate.py lists them
	@scripts/setup run
	@.venv/bin/python scripts/generate.py

lock: ## pin what the deployed functions install anew, with hashes; LOCK=--upgrade takes newer versions
	@scripts/setup test
	@scripts/lock $(LOCK)

audit: ## licences, bandit, and known vulnerabilities of what is deployed (asks PyPI)
	@scripts/setup test
	.venv/bin/python -m pytest -q tests/functions/test_supply_chain.py
	.venv/bin/uv tool run pip-audit --strict --disable-pip --require-hashes --requirement functions/requirements.lock

# The trust runs: docs/trust.md says what each shows. LONG=1 takes longer and looks at more.
crash: ## Postgres and the functions killed under eight writers; LONG=1: half an hour
lines: ## answers lost after COMMIT, duplicates, fifty copies at once, old keys; LONG=1: ten minutes
convergence: ## clients on a bad network end with what the server has; LONG=1: 100,000 operations
faults: ## full disks, locks, restarts, a standby: refused clearly, nothing lost
cleanup: ## clean-up at once with everything else; LONG=1: 10,000 interleavings
turns: ## answers in the making while runners, functions and Postgres are killed; LONG=1: 1,000 of them
clients: ## Python clients and browsers on a bad network end equal, a message once; LONG=1: 100,000 operations
killed: ## Python clients killed while they edit and stream: all is there once; LONG=1: 200 times
tokens: ## bad tokens, all answered alike; a key server that is slow, away or lies; LONG=1: every address
oracles: ## missing, deleted and foreign answer alike, in time too; no role leaks; LONG=1: more often
fuzz: ## odd input for the parsers and the functions: no 500; LONG=1: a million of them
bombs: ## bodies made to cost memory or time; LONG=1: 200 MB and slow ones
privacy: ## planted words in no log, error or table afterwards
neighbours: ## a hostile caller beside one who saves, lists, restores; LONG=1: larger, and times are judged
$(TRUST_RUNS):
	@scripts/setup test
	@.venv/bin/python -m tests.trust $@ $(if $(LONG),--long)

clean: ## remove .venv, caches and what was downloaded, in the home folder too; data in .asyouwere stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis dist build infra/.build web/dist web/page/dist examples/*/page/dist '$(CACHE)'
	find . \( -name __pycache__ -o -name node_modules \) -type d -not -path './.venv/*' -not -path './.asyouwere/*' \
		-prune -exec rm -rf {} +
