# What is done daily. Each target makes the virtual environment .venv first, and builds anew after a change to the C code.
PYTHON = python3
BIN = .venv/bin
BUILT = .venv/built
PYTEST = $(BIN)/pytest -q

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' $(MAKEFILE_LIST) | expand -t 22

build: $(BUILT) ## make .venv and compile the package in place
test: $(BUILT) ## all tests
	$(PYTEST) $(ARGS)
quick: $(BUILT) ## the quick tests: without tests/kernel, tests/oracle and tests/tools
	$(PYTEST) -m "not kernel" $(ARGS)
test-user: $(BUILT) ## all tests as an ordinary user; needs root
	setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent $(PYTEST) -p no:cacheprovider $(ARGS)
lint: $(BUILT) ## what pre-commit runs: style, types, and whether the generated files are in step
	$(BIN)/pre-commit run --all-files
format: $(BUILT) ## bring Python into the form that lint wants
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
types: $(BUILT) ## mypy, pyright, and the stub files beside the module
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright
	$(BIN)/python -m mypy.stubtest perf_event_open_sys --allowlist .ci/stubtest-allowlist
regenerate: $(BUILT) ## the stubs, the pictures, the man page and completions; with KERNEL=<an unpacked kernel> its declarations too
	$(BIN)/python scripts/regenerate.py $(or $(KERNEL),--stubs)
	$(BIN)/python scripts/draw_architecture.py
	$(BIN)/python scripts/draw_ring.py
	$(BIN)/python scripts/command_files.py
bench: $(BUILT) ## what each call costs, beside the same in C
	$(BIN)/python benchmarks/run.py $(ARGS)
docs: $(BUILT) ## run what README.md and docs/ show, and follow their links
	$(PYTEST) tests/test_readme.py tests/test_docs.py tests/test_docs_blocks.py $(ARGS)
site: $(BUILT) ## the documentation as a site: build/site/index.html; a warning is an error
	$(BIN)/python -m sphinx -b html -EanWq --keep-going -c docs . build/site
mutation: $(BUILT) ## break the C code on purpose, and list what no test notices; an hour. ARGS=ring.c is one file
	$(BIN)/python scripts/mutate_c.py $(ARGS)
mutation-python: $(BUILT) ## the same for the package's Python
	$(BIN)/pip install -q --group mutation
	$(BIN)/python scripts/mutate_python.py $(ARGS)
gate: ## all of it in a clean checkout; as root on Debian it installs the compilers that it misses
	.ci/run

$(BUILT): pyproject.toml setup.py build_perf.py perf_event_open_sys/_cdef.py $(wildcard cdefs/*.[ch] cdefs/*/*.h cdefs/*/*/*.h)
	test -e $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -U pip
	$(BIN)/pip install -q -e . --group dev
	touch $@

.PHONY: help build test quick test-user lint format types regenerate bench docs site mutation mutation-python gate
