# The long checks. Everything that must pass before a change is kept is in .ci/run instead.
PYTHON ?= python3

.PHONY: soak sanitize coverage fuzz

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
