#!/usr/bin/env bash
# What is checked without running anything. ruff, mypy and clang-format are on the path.
set -euo pipefail
cd "$(dirname "$0")/.."

ruff check .
ruff format --check .
clang-format --dry-run --Werror csrc/*.[ch] csrc/*/*.[ch] tests/c/*.[ch] python/binding/*.[ch]
mypy
# The first two change the floating-point mode of the process, the last needs the machine that built.
if grep -r -n -E -e '-(ffast-math|Ofast|funsafe-math-optimizations|march=native)' \
    --include=CMake* --include=*.cmake --include=pyproject.toml \
    --exclude-dir=build --exclude-dir='.venv*' . | grep -v -E ':[0-9]+: *#'; then
  echo "a flag that changes the process's floating-point mode or needs the build machine" >&2
  exit 1
fi
