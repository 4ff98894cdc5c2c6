# The long checks. Everything that must pass before a change is kept is in .ci/run instead.
PYTHON ?= python3

.PHONY: soak
# Every promise of docs/reliability.md at full length, and valgrind: about an hour on two cores.
# PYTHON is an interpreter with tinytape and its extra [test].
soak:
	$(PYTHON) -m tests.soak --json docs/reliability.json --document docs/reliability.md
	PYTHON=$(PYTHON) tools/valgrind_tests.sh
