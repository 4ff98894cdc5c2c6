#!/usr/bin/env bash
# Builds the wheel twice, from two copies of the tree in folders of different names, and compares the
# files byte for byte. PYTHON is an interpreter with the build requirements (default: python3).
# One SIMD level by default; LEVELS="v2;v3;v4" builds them all.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(command -v "${PYTHON:-python3}")
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1700000000} PATH=$(dirname "$python"):$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in one another-with-a-longer-name; do
  mkdir "$work/$name"
  tar --create --exclude=.git --exclude=.venv --exclude=build --exclude=dist . | tar --extract --directory "$work/$name"
  (cd "$work/$name" && "$python" -m pip wheel --quiet --no-deps --no-build-isolation \
    -Ccmake.define.TT_LEVELS="${LEVELS:-v2}" --wheel-dir "$work/wheels-$name" .)
done
cmp "$work"/wheels-one/*.whl "$work"/wheels-another-with-a-longer-name/*.whl
sha256sum "$work"/wheels-one/*.whl | sed "s|$work/wheels-one/||"
