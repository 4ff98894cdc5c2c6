#!/usr/bin/env bash
# How much of the code the tests reach, in branches: of the C core and its binding (gcov), and of the
# library (coverage.py). Also `make coverage`.
#
#   tools/coverage.sh [arguments of pytest]
#
# PYTHON is an interpreter with the extras [test] and [coverage] of the package, BUILD_PYTHON one
# with what the build needs (default: the same); gcc, gcov, cmake and ninja are on the path. One SIMD
# level is built, without optimisation, so that a branch of the source is a branch of the program. The
# build, the figures by file and the pages by line (core.html, kernels.html) stay in build/coverage.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
build_python=$(command -v "${BUILD_PYTHON:-$python}")
level=${TINYTAPE_COVERAGE_LEVEL:-v4}
build=$PWD/build/coverage
site=$build/site

cmake -S . -B "$build" -G Ninja -DTT_PYTHON=ON -DTT_TESTS=ON -DTT_BLAS=bundled -DTT_LEVELS="$level" \
  -DCMAKE_C_FLAGS="--coverage -fprofile-update=atomic" -DCMAKE_C_FLAGS_RELEASE="-O0" \
  -DPython_EXECUTABLE="$build_python" > /dev/null
cmake --build "$build" -- --quiet
find "$build" -name '*.gcda' -delete # of an earlier run
rm -f "$build"/.coverage*
"$python" tools/site_folder.py "$build" "$site"

ctest --test-dir "$build" --output-on-failure --parallel 2

# What is about the installed package, the build or the documents reaches nothing here.
skip=(--ignore=tests/core/test_package.py --ignore=tests/core/test_build.py --ignore=tests/commands/test_docs.py)
export PYTHONPATH=$site COVERAGE_FILE=$build/.coverage
"$python" -m coverage run -m pytest -p no:cacheprovider "${skip[@]}" "$@" || failed=$?

"$python" -m coverage combine --quiet
rm -f "$build"/.coverage.* # half of a file, of a process that a test killed
"$python" -m coverage json --quiet -o "$build/library.json"
"$python" -m coverage html --quiet -d "$build/library"
summary() { # of the object folders given, as $build/NAME.json, with pages by line
  local name=$1
  shift
  "$python" -m gcovr --root . --filter csrc/ --filter python/binding/ --object-directory "$build" \
    --gcov-ignore-parse-errors=suspicious_hits.warn --merge-mode-functions=merge-use-line-min \
    --json-summary "$build/$name.json" --html-details "$build/$name.html" "$@" > /dev/null
}
summary core "$build"/CMakeFiles/{tt_core,_core}.dir
summary kernels "$build"/CMakeFiles/tt_kernels_*.dir
"$python" tools/coverage_summary.py "$build"/{core,kernels,library}.json
exit "${failed:-0}"
