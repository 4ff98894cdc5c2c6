# The long checks. Everything that must pass before a change is kept is in .ci/run instead.
PYTHON ?= python3

.PHONY: soak sanitize

# Every promise of docs/reliability.md at full length: about an hour on two cores. PYTHON is an
# interpreter with tinytape and its extra [test].
soak:
	$(PYTHON) -m tests.soak --json docs/reliability.json --document docs/reliability.md

# The sanitizers and valgrind; gcc, cmake, ninja and valgrind are on the path.
sanitize:
	PYTHON=$(PYTHON) tools/sanitizers.sh
