# Two commands for a fresh machine (Python 3.10-3.13 and internet; no root, no cluster): `make demo` and `make test`.
# Both make .venv first, which the second time takes no time. PYTHON=... chooses another interpreter.

VENV := .venv
BIN := $(VENV)/bin
INPUTS := scripts/setup.sh pyproject.toml $(wildcard uv.lock)

.PHONY: help demo ui test unit faults contract shells bench mutants lint format clean ruff ruff-format mypy imports
.DEFAULT_GOAL := help

help:
	@echo 'make demo     run the examples hello and claire on an embedded Airflow, local sites only; PORT=... for its web UI'
	@echo 'make ui       keep that Airflow running, to look at it in a browser; PORT=...'
	@echo 'make test     all tests but the long ones; those on real sites where the machine can hold them (root on Debian)'
	@echo 'make unit     the quick tests only'
	@echo 'make coverage the quick tests, and which branches of the package they take'
	@echo 'make faults   kills and outages of every component, the long ones included'
	@echo 'make long     tests that take minutes: ten thousand jobs, more conformance tests, examples at more sites'
	@echo 'make screenshots   the tests of pages in a browser, and the pictures of docs/ anew'
	@echo 'make system   the tests with a real Airflow only; AIRFLOW_EXECUTOR=celery chooses its executor'
	@echo 'make celery   of these the ones that run DAGs in an Airflow, by a worker of Celery'
	@echo 'make workers  workers on machines that share no files: of Celery, and an Edge worker'
	@echo 'make contract the contract of connectors, for deployments that are containers, too'
	@echo 'make shells   the contract and the scripts of ours with /bin/sh being dash, bash, busybox, ksh and zsh'
	@echo 'make bench    ours against StreamFlow and cwltool, side by side (about an hour); ARGS="--only ..."'
	@echo 'make conformance   the CWL conformance tests through DAGs; SITE=hpc, SITE=cloud, SUITE=..., ARGS="-k ..."'
	@echo 'make reuse-pairs   run 300 pairs of jobs that differ in one place, and see none taken for the other'
	@echo 'make mutants  break one rule after the other in a copy, and see a test fail (about ten minutes)'
	@echo 'make lint     ruff, mypy, import-linter, vulture, shellcheck, shfmt'
	@echo 'make format   let ruff and shfmt put the code in order'
	@echo 'make clean    stop and remove the demo; remove .venv and caches'

demo ui: export PORT := $(PORT)

demo: $(VENV)/.demo
	@$(BIN)/python -m scripts.demo $${PORT:+--port "$$PORT"}

ui: $(VENV)/.demo
	@$(BIN)/python -m scripts.demo --ui $${PORT:+--port "$$PORT"}

UNIT = $(BIN)/python -m pytest tests/unit tests/security -n 6 $(ARGS)

# Tests mostly wait, so several run at a time. Each process has sites and an Airflow of its own; what shares a site's
# state (a contract class, a file of system tests) stays in one process. Exit code 5: ARGS chose none of these.
test: $(VENV)/.dev
	@worst=0; \
	note() { code=$$?; [ $$code = 0 ] || [ $$code = 5 ] || worst=$$code; }; \
	$(UNIT) || note; \
	$(BIN)/python -m pytest tests/contract -n 3 --dist loadscope $(ARGS) || note; \
	$(BIN)/python -m pytest --ignore tests/unit --ignore tests/security --ignore tests/contract -n 2 --dist loadscope $(ARGS) || note; \
	exit $$worst

unit: $(VENV)/.dev
	$(UNIT)

# lines and branches of the package that the quick tests take; fewer than the floor in pyproject.toml are an error
.PHONY: coverage
coverage: $(VENV)/.dev
	$(UNIT) --cov --cov-report term:skip-covered

# every kill and outage, those included that Airflow takes minutes to notice
faults: $(VENV)/.dev
	$(BIN)/python -m pytest -m 'faults or not faults' tests/system/lifetimes/test_faults.py tests/system/lifetimes/test_lifecycle.py \
		tests/system/lifetimes/test_lost_data.py tests/system/lifetimes/test_clear_running.py \
		tests/system/lifetimes/test_managed_kills.py tests/system/lifetimes/test_triggerers.py tests/system/at_sites/slurm \
		tests/system/kubernetes/test_kubernetes_dag.py tests/system/workflows/test_loops.py $(ARGS)

# the tests that take minutes, and are not part of `make test`
.PHONY: long
long: $(VENV)/.dev
	$(BIN)/python -m pytest -m long tests/system tests/conformance tests/containers -n 2 --dist loadscope $(ARGS)

# pages in a browser, the long tests included; what docs/ show is taken over with few colours, which makes it small
.PHONY: screenshots
screenshots: $(VENV)/.dev
	$(BIN)/python -m pytest -m 'long or not long' tests/system/web $(ARGS)
	$(BIN)/python -m scripts.screenshots

# tests with a real Airflow; AIRFLOW_EXECUTOR=celery: by workers of Celery in place of LocalExecutor
.PHONY: system celery workers
system: $(VENV)/.dev
	$(BIN)/python -m pytest tests/system -n 2 --dist loadscope $(ARGS)

# those of them whose DAGs run in the Airflow of the tests, by a worker of Celery; ARGS="-k ..."
celery: $(VENV)/.dev
	AIRFLOW_EXECUTOR=celery $(BIN)/python -m pytest -m 'system and not faults and not workers and not long' tests/system -n 2 \
		--dist loadscope $(ARGS)

# workers of Celery on machines that share no files, and an Edge worker at a site that nobody can connect to
workers: $(VENV)/.edge
	$(BIN)/python -m pytest -m 'workers or not workers' tests/system/workers $(ARGS)

# the same tests for every connector; those of containers take minutes each
contract: $(VENV)/.dev
	$(BIN)/python -m pytest -m 'contract or not contract' tests/contract $(ARGS)

# shell text of ours, here and at real sites, with each shell as /bin/sh; ARGS="-k ..."
SHELLS := dash bash busybox ksh93 zsh
SHELL_TESTS := tests/contract/test_contract.py tests/system/at_sites/test_hostile_values.py \
	tests/system/at_sites/test_data_mover_sites.py tests/system/at_sites/test_queue_process.py tests/unit/sites/files/test_data_mover.py \
	tests/unit/sites/batches/slurm tests/unit/sites/batches/test_queue_fakes.py tests/unit/sites/reuse/test_reuse_index.py
shells: $(VENV)/.dev
	@worst=0; for shell in $(SHELLS); do echo "=== $$shell"; \
	tests/shells $$shell $(BIN)/python -m pytest $(SHELL_TESTS) $(ARGS) || worst=1; done; exit $$worst

.PHONY: conformance
SITE := local
conformance: $(VENV)/.dev
	$(BIN)/python -m tests.conformance --site $(SITE) $(if $(FUSE),--fuse) $(if $(SUITE),--suite $(SUITE)) $(ARGS)

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(ARGS)

# all pairs of jobs that differ in one place, each really run (`make test` runs some)
.PHONY: reuse-pairs
reuse-pairs: $(VENV)/.dev
	REUSE_PAIRS=300 $(BIN)/python -m pytest tests/unit/engine/reuse/test_reuse_pairs.py $(ARGS)

mutants: $(VENV)/.dev
	$(BIN)/python -m scripts.mutants $(ARGS)

lint: ruff ruff-format mypy imports dead-code shellcheck shfmt

ruff: $(VENV)/.dev
	$(BIN)/ruff check .

ruff-format: $(VENV)/.dev
	$(BIN)/ruff format --check .

mypy: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

# what nobody uses; what others use by name is listed in pyproject.toml
.PHONY: dead-code
dead-code: $(VENV)/.dev
	$(BIN)/vulture

# files of shell text, by their names or first lines; templates of tests are none before they are filled in
SHELL_TEXT = $(filter-out tests/unit/%, $(shell $(BIN)/shfmt -f .ci airflow_hybrid docker scripts tests))

.PHONY: shellcheck shfmt
shellcheck: $(VENV)/.dev
	@$(if $(SHELL_TEXT),,echo 'make: no shell text was found' >&2; exit 1)
	$(BIN)/shellcheck $(SHELL_TEXT)

shfmt: $(VENV)/.dev
	@$(if $(SHELL_TEXT),,echo 'make: no shell text was found' >&2; exit 1)
	$(BIN)/shfmt -d $(SHELL_TEXT)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/shfmt -w $(SHELL_TEXT)

# the examples' own programs need scikit-learn and matplotlib: extra "bench"
$(VENV)/.demo: $(INPUTS)
	@sh scripts/setup.sh $(VENV) bench
	@touch $@

$(VENV)/.dev: $(INPUTS)
	@sh scripts/setup.sh $(VENV) bench celery dev kubernetes postgres
	@touch $@ $(VENV)/.demo

# not in .dev: with the provider edge3, every process of Airflow starts later
$(VENV)/.edge: $(VENV)/.dev
	@sh scripts/setup.sh $(VENV) bench celery dev edge kubernetes postgres
	@touch $@

clean:
	@if [ -x $(BIN)/python ] && [ -d .demo ]; then $(BIN)/python -m scripts.demo --stop; fi
	[ ! -f '$(VENV)/pyvenv.cfg' ] || rm -rf -- '$(VENV)'
	rm -rf .demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
