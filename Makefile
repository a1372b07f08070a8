# pyslirp: `make demo` and `make test` are all that a fresh clone needs; `make help` lists the rest.
#
# Everything is built into .venv and build/<flavour>/ (see setup.py).  Building is incremental and never skipped, so what
# runs is always what the sources say.  Pass arguments to pytest with ARGS: make test ARGS="tests/unit -k dhcp".

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
PY     := $(VENV)/bin/python
unexport PYSLIRP_BUILD

.DEFAULT_GOAL := help
.PHONY: help demo test build check docs sim differential bench wan microbench debug sanitize coverage fuzz fuzz-smoke clean distclean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

# A worker for each core runs tests side by side, but for those that are marked `alone`, which come after them.
# ARGS="-n0 ..." does without workers, for -s or a debugger.
WORKERS := -n auto --maxprocesses 8 --dist loadgroup

demo: build ## what pyslirp does, shown without QEMU
	$(PY) -m pyslirp demo

# Of a part in which nothing was asked for pytest says 5, of an interruption, which ends both, 2; else the first failure counts.
test: build $(VENV)/test ## every test; says what it skipped and why (PYSLIRP_NO_SKIP=1: a skip is a failure)
	@status=5; ran() { case $$1-$$status in 2-*) exit 2 ;; 5-*) ;; *-5 | *-0) status=$$1 ;; esac; }; \
	$(PY) -m pytest --part=beside $(WORKERS) $(ARGS); ran $$?; \
	$(PY) -m pytest --part=alone $(ARGS) -n0; ran $$?; \
	exit $$status

build: $(VENV)/run ## the engine, in place
	$(PY) setup.py -q build_ext --inplace

check: $(VENV)/test ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m mypy

docs: build ## control.md, counters.md and options.md in docs/, from the code
	$(PY) -m docs.generate

sim: build $(VENV)/test ## the simulator's tests alone, with more seeds and longer tables (minutes)
	PYSLIRP_SIM_SEEDS=$${PYSLIRP_SIM_SEEDS:-10} PYSLIRP_SIM_LONG=1 $(PY) -m pytest $(WORKERS) tests/sim $(ARGS)

differential: build $(VENV)/test ## random segments to the engine and to this Linux, compared (ARGS: first seed:count)
	PYTHONPATH=$(CURDIR) PYSLIRP_DIFFERENTIAL=$(or $(ARGS),0:20000) \
	  unshare -Urn $(PY) -m tests.platform.namespace tests.differential.compare compare

bench: build ## beside slirp4netns, pasta, passt and gvproxy, those on PATH (ARGS: see python -m bench --help)
	$(PY) -m bench $(ARGS)

wan: build $(VENV)/test ## goodput over bad links beside plain Linux and passt (ARGS: see python -m bench.wan --help)
	$(PY) -m bench.wan $(ARGS)

microbench: build $(VENV)/test ## nanoseconds: a packet, a flow, a checksum, and how they grow with the number of flows
	$(PY) -m tests.bench $(ARGS)

# ------------------------------------------------------------------------------------------------- other flavours
# Each is a finished package under build/<flavour>/lib, put before this folder on the path; PYTHONSAFEPATH keeps Python
# from putting this folder first.  tests/conftest.py makes sure that the named flavour is the one that runs.

FLAVOUR_TESTS := $(wildcard tests/unit tests/tcp tests/ipv6 tests/regressions tests/sim)
flavoured = PYSLIRP_BUILD=$(1) PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/build/$(1)/lib:$(CURDIR)
# Sanitizers leave out what is marked `bulk` (tables of throughput and fairness, 50,000 flows): minutes of code that shorter
# tests reach as well.  CPython keeps memory until it ends, so leaks are counted by the debug flavour, not by the sanitizer.
sanitized = LD_PRELOAD="$$($(CC) -print-file-name=libasan.so)" PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
	UBSAN_OPTIONS=print_stacktrace=1

build-%: $(VENV)/test
	PYSLIRP_BUILD=$* $(PY) setup.py -q build

debug: build-debug ## unit tests with assertions, bounds checks and leak counters
	$(call flavoured,debug) $(PY) -m pytest $(WORKERS) $(FLAVOUR_TESTS) $(ARGS)

sanitize: build-sanitize ## unit tests under ASan and UBSan
	$(call flavoured,sanitize) $(sanitized) $(PY) -m pytest $(WORKERS) -m "not bulk" $(FLAVOUR_TESTS) $(ARGS)

coverage: build-coverage ## lines that the unit tests reach, of .py and .pyx
	$(call flavoured,coverage) $(PY) -m coverage run -m pytest $(FLAVOUR_TESTS) $(ARGS)
	$(call flavoured,coverage) $(PY) -m coverage report

fuzz: build-fuzz ## every fuzz target for a minute, under ASan and UBSan (ARGS: targets and options)
	$(call flavoured,fuzz) $(sanitized) $(PY) -m fuzz.run --seconds 60 $(ARGS)

fuzz-smoke: build-fuzz ## the same, a few seconds each
	$(call flavoured,fuzz) $(sanitized) $(PY) -m fuzz.run --smoke $(ARGS)

# ---------------------------------------------------------------------------------------------------- the environment
# The two marker files say only that what pyproject.toml asks for is installed.

$(VENV)/bin/activate:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is not Python 3.11 or newer; name one with PYTHON=..." >&2; exit 1; }
	@version=$$($(PYTHON) -c 'import sys; print("python%d.%d" % sys.version_info[:2])'); missing=; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing $$version-venv"; \
	$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
	  missing="$$missing $$version-dev"; \
	command -v $(CC) >/dev/null || missing="$$missing gcc libc6-dev"; \
	test -z "$$missing" || { echo "make: something is missing; install it with: apt-get install$$missing" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

requirements = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

$(VENV)/run: $(VENV)/bin/activate pyproject.toml pyslirp/_version.py
	$(PY) -c '$(requirements)' > $(VENV)/requirements
	$(PY) -m pip install -q --disable-pip-version-check -r $(VENV)/requirements
	$(PY) setup.py -q build_ext --inplace  # first, so that an error of the compiler is not told by pip
	$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation -e .
	touch $@

$(VENV)/test: $(VENV)/run
	$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[test]'
	touch $@

clean: ## what was built (not .venv)
	rm -rf build dist *.egg-info
	find pyslirp -name '*.so' -delete
	find ext -name '*.c' ! -path '*/csrc/*' -delete
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## and .venv
	rm -rf $(VENV)
