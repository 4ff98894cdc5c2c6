#!/usr/bin/env bash
# The Python tests on a core built with AddressSanitizer and UndefinedBehaviorSanitizer:
#
#   tools/sanitized_tests.sh [arguments of pytest]
#
# PYTHON is an interpreter with what the tests need (default: python3), BUILD_PYTHON one with what
# the build needs (default: the same); gcc, cmake and ninja are on the path. The build is that of the
# preset asan, with Python and the bundled BLAS beside what the C tests need: its kernels are compiled
# once for both.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
build_python=$(command -v "${BUILD_PYTHON:-$python}")
build=$PWD/build/asan
site=$build/site

cmake --preset asan -G Ninja -DTT_PYTHON=ON -DTT_BLAS=bundled \
  -DPython_EXECUTABLE="$build_python" > /dev/null
cmake --build "$build" --target _core -- --quiet
"$python" tools/site_folder.py "$build" "$site"

# What cannot run here, and why.
skip=(
  --ignore=tests/core/test_package.py # about the installed package, which this is not
  --ignore=tests/training/test_save_memory.py # a limit of address space, which the sanitizer fills
)
# What hardly comes near the core, or starts a process for each thing it looks at.
skip+=(--ignore=tests/commands)
for file in core/test_{build,docstrings,imports,structure} \
  data/test_{batches,corpora,encodings,split_files,tokenizer} nn/test_model_spec \
  training/test_{belonging,changes,claim,config,files,limits,live,lock,moved,progress,resume_places} \
  training/test_{rules,run_folder,settings,shell,signals,sizes}; do
  [[ -e tests/$file.py ]] || { echo "there is no tests/$file.py" >&2; exit 1; }
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
