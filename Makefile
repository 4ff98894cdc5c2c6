# Developing tinytape: `make dev` once, then edit, `make op NAME=softmax` or `make test`. What must
# pass before a change is kept is in .ci/run. CONTRIBUTING.md has the rest.
VENV ?= .venv
PYTHON ?= $(if $(wildcard $(VENV)/bin/python),$(VENV)/bin/python,python3)
BUILD = build/development
export PATH := $(abspath $(VENV))/bin:$(PATH)

.PHONY: dev build op test fast lint format soak sanitize coverage fuzz

# An editable installation, with a build for this machine alone: one SIMD level, an object for each
# operation, in a folder that is kept.
dev:
	test -x $(VENV)/bin/python || python3 -m venv $(VENV)
	pip install --quiet --require-hashes -r .ci/requirements.txt
	pip install --quiet --no-build-isolation -Cbuild-dir=$(BUILD) -Ccmake.args=--preset=development \
	  -Cinstall.strip=false -e '.[dev]'

# What changed in C since, compiled and put where the editable installation looks.
build:
	@test -f $(BUILD)/build.ninja || { echo "run 'make dev' first" >&2; exit 1; }
	@cmake --build $(BUILD) --target _core -- --quiet
	@cmake --install $(BUILD) --prefix "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("platlib"))')" > /dev/null

# make op NAME=softmax: build it, then its row of the test table.
op: build
	$(PYTHON) -m pytest -q tests/ops/test_ops.py -k '[$(NAME)] or [$(NAME)- or -$(NAME)]'

# The whole suite, then all but its slow tests, with fewer examples, after the linters.
test: build
	$(PYTHON) -m pytest -q -n 2
fast: lint build
	TINYTAPE_EXAMPLES=$${TINYTAPE_EXAMPLES:-20} $(PYTHON) -m pytest -q -n 2 -m 'not slow'

lint:
	tools/lint.sh
format:
	ruff format .
	ruff check --fix-only --quiet .
	clang-format -i csrc/*.[ch] csrc/*/*.[ch] tests/c/*.[ch] python/binding/*.[ch]

# The long checks.

# Every promise of docs/reliability.md at full length: about an hour on two cores. PYTHON is an
# interpreter with tinytape and its extra [test].
soak:
	$(PYTHON) -m tests.soak --json docs/reliability.json --document docs/reliability.md

# The sanitizers and valgrind; gcc, cmake, ninja and valgrind are on the path.
sanitize:
	PYTHON=$(PYTHON) tools/sanitizers.sh

# Branches that the tests take, of the C core and of the library. PYTHON has the extra [coverage] too.
coverage:
	PYTHON=$(PYTHON) tools/coverage.sh

# Every reader against inputs that are made to reach new code. PYTHON has the extra [fuzz] too.
fuzz:
	$(PYTHON) -m tests.soak fuzzing
