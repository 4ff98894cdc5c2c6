#!/usr/bin/env bash
# The Python tests on a core built with AddressSanitizer and UndefinedBehaviorSanitizer:
#
#   tools/sanitized_tests.sh [arguments of pytest]
#
# PYTHON is an interpreter with what the tests need (default: python3), BUILD_PYTHON one with what
# the build needs (default: the same); gcc, cmake and ninja are on the path. The build stays in
# build/sanitized, so that the next one is quick.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
build_python=$(command -v "${BUILD_PYTHON:-$python}")
build=$PWD/build/sanitized
site=$build/site

cmake -S . -B "$build" -G Ninja -DTT_PYTHON=ON -DTT_BLAS=bundled -DTT_SANITIZE=address,undefined \
  -DCMAKE_C_FLAGS_RELEASE=-O1 -DPython_EXECUTABLE="$build_python" > /dev/null
cmake --build "$build" --target _core -- --quiet
rm -rf "$site"
mkdir -p "$site"
cp -R python/tinytape "$site/"
rm -f "$site"/tinytape/_core*
cp "$build"/_core*.so "$site/tinytape/"
mkdir -p "$site/tinytape/.libs"
cp "$build"/blas/*.so "$site/tinytape/.libs/"

# What cannot run here, and why.
skip=(
  --ignore=tests/core/test_package.py # about the installed package, which this is not
  --ignore=tests/training/test_save_memory.py # a limit of address space, which the sanitizer fills
)
# What hardly comes near the core, or starts a process for each thing it looks at.
skip+=(--ignore=tests/commands)
for file in core/test_build \
  data/test_{batches,corpora,encodings,parts,tokenizer} \
  training/test_{files,resume_places,changes,claim,config,live,lock,moved,progress,run_folder,settings,shell,signals}; do
  skip+=("--ignore=tests/$file.py")
done
for promise in corruption disk fuzzing kills resume run_moves run_states signals study; do
  skip+=("--deselect=tests/soak/test_soak.py::test_a_promise_holds[$promise]")
done

# The sanitizers' libraries have to be in the process before Python is. Python's own allocator would
# hide what is read beyond an array; that the interpreter gives not all back at its end is no news.
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
export PYTHONMALLOC=malloc PYTHONPATH=$site
exec "$python" -m pytest -p no:cacheprovider "${skip[@]}" "$@"
