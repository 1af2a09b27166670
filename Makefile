# Needs python3 (3.10 or later, with venv) and nothing else: whatever a target needs, it installs
# into .venv, anew when pyproject.toml has changed.
#
#   PYTHON=python3.12   use this one, in an environment of its own
#   ARGS='-w 4'         more arguments for prefork, pytest or the benchmark

PYTHON = python3
ARGS =
EXTRA =

ifeq ($(PYTHON),python3)
VENV := .venv
else
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif

BIN = $(VENV)/bin
NEEDED = chromium-headless-shell nginx haproxy spin gcc slowhttptest systemd-analyze logrotate pgrep
NEEDED += promtool mandoc
HAS_TOOLS = (PATH="$$PATH:/usr/sbin"; for tool in $(NEEDED); do command -v $$tool || exit 1; done) >/dev/null
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help run test check docs bench chaos hostile fuzz mutations tools clean
.NOTPARALLEL:

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 13

run: $(VENV)/.run ## serve the demo app on http://127.0.0.1:8000
	$(BIN)/prefork prefork.demo:app -w 2 $(ARGS)

# One more at a time than there are cores: servers and clients wait for each other much.
test: $(VENV)/.test tools ## run the tests
	$(BIN)/pytest -n $$((1 + $$(nproc))) $(ARGS)

check: $(VENV)/.check ## lint, check the types, and that the generated files are up to date
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict prefork benchmarks reference
	$(BIN)/python -m reference --check

docs: $(VENV)/.run ## write the man pages and what else is generated from the tables
	$(BIN)/python -m reference

bench: ## measure prefork beside its peers, and rewrite the figures
	$(PYTHON) -m benchmarks $(ARGS)

chaos: ## replace, kill and break the workers of prefork and its peers, and rewrite the table
	$(PYTHON) -m benchmarks.chaos $(ARGS)

hostile: $(VENV)/.test tools ## measure a healthy client among 1000 slow ones, and a large slow upload
	HOSTILE_CLIENTS=1000 HOSTILE_MIB=200 $(BIN)/pytest -s tests/served/test_hostile_clients.py $(ARGS)

fuzz: $(VENV)/.fuzz ## look for requests that are not understood as they should be, for ten minutes
	for property in requests limits heads introductions forwarded; do \
		$(BIN)/python -m tests.fuzz $$property -max_total_time=$(or $(SECONDS),120) || exit 1; done

mutations: $(VENV)/.test ## send a million mutated requests to every kind of worker
	MUTATIONS=1000000 $(BIN)/pytest -s tests/served/test_mutations.py $(ARGS)

clean: ## remove all that was made here
	rm -rf .venv .venv-* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# The tests behind proxies, among slow clients, in a browser, with systemd, logrotate and Prometheus, and
# that of the model, skip without these: root installs them.
tools:
	@$(HAS_TOOLS) || test "$$(id -u)" != 0 || { \
		apt-get update && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends \
		chromium-headless-shell curl haproxy logrotate mandoc nginx-light openssl procps prometheus \
		slowhttptest spin systemd gcc libc6-dev; \
	} || echo "Not all tools can be installed: the tests that need them will be skipped"

$(VENV)/.test: EXTRA = [test]
$(VENV)/.check: EXTRA = [check]
$(VENV)/.fuzz: EXTRA = [fuzz]
$(VENV)/.run $(VENV)/.test $(VENV)/.check $(VENV)/.fuzz: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.$(EXTRA)'
	@touch $@
