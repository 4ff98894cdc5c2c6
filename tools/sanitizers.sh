#!/usr/bin/env bash
# Every memory and thread checker on what it is good for; exits with 1 when one has anything to say:
#
#   tools/sanitizers.sh [asan] [tsan] [valgrind] [python]        without arguments: all of them
#
#   asan      the C tests under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer
#   tsan      the C tests under ThreadSanitizer
#   valgrind  the C tests under memcheck: what was never written and is read, which no sanitizer sees
#   python    the Python tests under AddressSanitizer and UndefinedBehaviorSanitizer
#
# cmake, ninja, gcc and valgrind are on the path; PYTHON and BUILD_PYTHON as for sanitized_tests.sh.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
reports='ERROR: [A-Za-z]*Sanitizer|WARNING: ThreadSanitizer|runtime error:|^==[0-9]+== [A-Z]'
failed=0

# The last line of each check: what it was, and how much it had to say.
conclude() { # NAME STATUS
  local found
  found=$(grep -c -E "$reports" "$log")
  printf '%s: %d reports, exit status %d, %d s\n' "$1" "$found" "$2" "$SECONDS"
  if [[ $found != 0 || $2 != 0 ]]; then failed=1; fi
}

build() { # PRESET
  cmake --preset "$1" -G Ninja > /dev/null && cmake --build --preset "$1" -- --quiet
}

c_tests() { # PRESET
  build "$1" && ctest --preset "$1" --parallel 2
}

# LeakSanitizer looks for leaks, and forgives what a thread that a fork left behind still held.
# Valgrind knows no AVX-512: the preset's kernels are those of v3.
memcheck() {
  build memcheck || return 1
  local test status wrong=0
  for test in build/memcheck/tests/c/test_*; do
    [[ -f $test && -x $test ]] || continue
    valgrind --quiet --error-exitcode=99 --leak-check=no "$test"
    status=$?
    if [[ $status != 0 && $status != 77 ]]; then
      echo "$(basename "$test") ended with status $status"
      wrong=1
    fi
  done
  return $wrong
}

check() { # NAME COMMAND...
  local name=$1
  shift
  printf '== %s\n' "$name"
  SECONDS=0
  "$@" 2>&1 | tee "$log"
  conclude "$name" "${PIPESTATUS[0]}"
}

for what in "${@:-asan tsan valgrind python}"; do
  for name in $what; do
    case $name in
      asan) check "C tests, address, leak and undefined behaviour" c_tests asan ;;
      tsan) check "C tests, threads" c_tests tsan ;;
      valgrind) check "C tests, valgrind" memcheck ;;
      python) check "Python tests, address and undefined behaviour" tools/sanitized_tests.sh -q -n 2 ;;
      *)
        echo "unknown check: $name" >&2
        exit 2
        ;;
    esac
  done
done
exit $failed
