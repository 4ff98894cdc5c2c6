# Sets TT_LEVELS to the best of every_level that this machine runs: for development builds, which
# need not run elsewhere.
list(GET every_level 0 TT_LEVELS)
foreach(level IN LISTS every_level)
  if(level STREQUAL "base")
    continue()
  endif()
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/runs_${level}.c
    "int main(void) { return !__builtin_cpu_supports(\"x86-64-${level}\"); }\n")
  try_run(TT_RUNS_${level} TT_COMPILES_${level}
    ${CMAKE_CURRENT_BINARY_DIR}/best_level ${CMAKE_CURRENT_BINARY_DIR}/runs_${level}.c)
  if(TT_COMPILES_${level} AND TT_RUNS_${level} EQUAL 0)
    set(TT_LEVELS ${level})
  endif()
endforeach()
message(STATUS "SIMD level: ${TT_LEVELS}")
