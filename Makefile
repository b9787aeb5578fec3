# One command each. All set up .venv first, which is instant when it is done.

PYTEST_WORKERS ?= 2
TRUST_RUNS = crash lines convergence faults cleanup tokens oracles fuzz bombs privacy

.PHONY: help run demo test bench lint lock audit generate clean $(TRUST_RUNS)

help:
	@echo 'make run      Postgres, the functions and a Supabase on this machine, and what to try first'
	@echo 'make demo     save, crash, restore: a scripted conversation, checked, with a table and a picture'
	@echo 'make test     linters, types and all tests'
	@echo 'make bench    the numbers in the README, measured here; make bench BENCH=--quick takes some minutes'
	@echo 'make crash    Postgres and the functions killed under eight writers; LONG=1 takes half an hour'
	@echo 'make lines    answers lost after COMMIT, duplicates, fifty copies at once, old keys; LONG=1: ten minutes'
	@echo 'make convergence  clients on a bad network end with what the server has; LONG=1: 100,000 operations'
	@echo 'make faults   full disks, locks, restarts, a standby: refused clearly, nothing lost'
	@echo 'make cleanup  clean-up at once with everything else; LONG=1: 10,000 interleavings'
	@echo 'make tokens   bad tokens, all answered alike; a key server that is slow, away or lies; LONG=1: every address'
	@echo 'make oracles  missing, deleted and foreign answer alike, in time too; no role leaks; LONG=1'
	@echo 'make fuzz     odd input for the parsers and the functions: no 500; LONG=1: a million of them'
	@echo 'make bombs    bodies made to cost memory or time; LONG=1: 200 MB and slow ones'
	@echo 'make privacy  planted words in no log, error or table afterwards'
	@echo 'make lint     linters and types alone'
	@echo 'make lock     pin what the deployed functions install anew, with hashes; LOCK=--upgrade takes newer versions'
	@echo 'make audit    licences, bandit, and known vulnerabilities of what is deployed (asks PyPI)'
	@echo 'make generate write anew what is made from other files: the baseline migration, sql/catalog.json'
	@echo 'make clean    remove .venv and caches; your data in .asyouwere stay'

run:
	@scripts/setup run
	@.venv/bin/asyouwere run

demo:
	@scripts/setup run
	@.venv/bin/asyouwere demo

test: lint
	.venv/bin/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal -q

bench:
	@scripts/setup test
	@.venv/bin/python -m tests.bench $(BENCH)

$(TRUST_RUNS):
	@scripts/setup test
	@.venv/bin/python -m tests.trust $@ $(if $(LONG),--long)

lint:
	@scripts/setup test
	.venv/bin/ruff check --quiet
	.venv/bin/mypy
	.venv/bin/zizmor --offline --quiet --no-progress .github

lock:
	@scripts/setup test
	@scripts/lock $(LOCK)

audit:
	@scripts/setup test
	.venv/bin/python -m pytest -q tests/functions/test_supply_chain.py
	.venv/bin/uv tool run pip-audit --strict --disable-pip --require-hashes --requirement functions/requirements.lock

generate:
	@scripts/setup run
	@.venv/bin/python scripts/generate.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
