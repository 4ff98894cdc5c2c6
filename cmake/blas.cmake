# Chooses the BLAS by TT_BLAS and defines the target tt_blas. With a bundled one it also sets
# TT_BLAS_BUNDLED_LIBRARY and TT_BLAS_BUNDLED_LICENSE, which the wheel carries.
#
#   accelerate   macOS's own
#   bundled      the OpenBLAS of the package scipy-openblas32, a build requirement on Linux, copied
#   system       an installed OpenBLAS, BLIS or MKL. The reference BLAS is refused: it is an order
#                of magnitude slower and nothing would say so. -DBLA_VENDOR=... names another one
#   builtin      csrc/base/blas_builtin.c, portable C, about five times slower than a tuned library
#   auto         the first of these that is there
include(CheckCSourceCompiles)
include(CMakePushCheckState)

add_library(tt_blas INTERFACE)

# One function for each choice; a tt_try_ function sets `found` in its caller.

function(tt_try_accelerate)
  set(found FALSE PARENT_SCOPE)
  if(APPLE)
    target_compile_definitions(tt_blas INTERFACE TT_BLAS_ACCELERATE ACCELERATE_NEW_LAPACK)
    target_link_libraries(tt_blas INTERFACE "-framework Accelerate")
    set(found TRUE PARENT_SCOPE)
  endif()
endfunction()

function(tt_try_bundled)
  set(found FALSE PARENT_SCOPE)
  find_package(Python 3.10 COMPONENTS Interpreter)
  if(NOT Python_Interpreter_FOUND)
    return()
  endif()
  # find_spec locates the package without importing it: importing loads the library.
  execute_process(
    COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/find_openblas.py
    OUTPUT_VARIABLE paths OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(failed)
    return()
  endif()
  list(GET paths 0 library)
  list(GET paths 1 include_dir)
  list(GET paths 2 license)

  # Its own name, so that the dynamic linker never takes another package's copy for this one.
  set(copy ${CMAKE_CURRENT_BINARY_DIR}/blas/libtinytape_blas.so)
  execute_process(
    COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/set_soname.py ${library} ${copy}
    COMMAND_ERROR_IS_FATAL ANY)

  # It is not linked: csrc/blas_ops.c loads it by its name when a product needs it, from where the
  # run path of the caller says.
  target_include_directories(tt_blas SYSTEM INTERFACE ${include_dir})
  target_link_libraries(tt_blas INTERFACE ${CMAKE_DL_LIBS})
  set(CMAKE_BUILD_RPATH ${CMAKE_CURRENT_BINARY_DIR}/blas PARENT_SCOPE)
  target_compile_definitions(tt_blas INTERFACE
    TT_BLAS_BUNDLED TT_BLAS_OPENBLAS BLAS_SYMBOL_PREFIX=scipy_)
  set(TT_BLAS_BUNDLED_LIBRARY ${copy} PARENT_SCOPE)
  set(TT_BLAS_BUNDLED_LICENSE ${license} PARENT_SCOPE)
  set(found TRUE PARENT_SCOPE)
endfunction()

# Sets `kind` to OPENBLAS, BLIS or MKL by the function of each that sets the number of threads.
function(tt_identify_blas libraries)
  set(kind "" PARENT_SCOPE)
  cmake_push_check_state(RESET)
  set(CMAKE_REQUIRED_LIBRARIES ${libraries})
  set(CMAKE_REQUIRED_QUIET ON)
  foreach(pair OPENBLAS:openblas_set_num_threads BLIS:bli_thread_set_num_threads
      MKL:MKL_Set_Num_Threads)
    string(REPLACE ":" ";" pair ${pair})
    list(GET pair 0 name)
    list(GET pair 1 symbol)
    set(code "void ${symbol}(int); void cblas_sgemm(void);
      int main(void) { ${symbol}(1); cblas_sgemm(); return 0; }")
    unset(TT_HAS_${name} CACHE)
    check_c_source_compiles("${code}" TT_HAS_${name})
    if(TT_HAS_${name})
      set(kind ${name} PARENT_SCOPE)
      break()
    endif()
  endforeach()
  cmake_pop_check_state()
endfunction()

function(tt_try_system)
  set(found FALSE PARENT_SCOPE)
  if(BLA_VENDOR)
    set(vendors ${BLA_VENDOR})
  else()
    set(vendors OpenBLAS FLAME Intel10_64lp_seq All)
  endif()
  foreach(BLA_VENDOR IN LISTS vendors)
    unset(BLAS_LIBRARIES)
    unset(BLAS_FOUND)
    find_package(BLAS QUIET)
    if(BLAS_FOUND)
      tt_identify_blas("${BLAS_LIBRARIES}")
      if(kind OR BLA_VENDOR STREQUAL "${vendors}")
        break()
      endif()
      set(TT_REFERENCE_BLAS "${BLAS_LIBRARIES}" PARENT_SCOPE)
    endif()
  endforeach()
  if(NOT BLAS_FOUND OR (NOT kind AND NOT BLA_VENDOR STREQUAL "${vendors}"))
    return()
  endif()
  if(kind STREQUAL "MKL")
    set(header mkl.h)
  else()
    set(header cblas.h)
  endif()
  find_path(TT_CBLAS_INCLUDE_DIR ${header}
    PATH_SUFFIXES openblas openblas-pthread openblas-serial blis mkl)
  if(NOT TT_CBLAS_INCLUDE_DIR)
    message(WARNING "found ${BLAS_LIBRARIES} but not its header ${header}")
    return()
  endif()
  target_include_directories(tt_blas SYSTEM INTERFACE ${TT_CBLAS_INCLUDE_DIR})
  target_compile_definitions(tt_blas INTERFACE TT_BLAS_SYSTEM)
  if(kind)
    target_compile_definitions(tt_blas INTERFACE TT_BLAS_${kind})
  endif()
  target_link_libraries(tt_blas INTERFACE ${BLAS_LIBRARIES})
  set(found TRUE PARENT_SCOPE)
endfunction()

function(tt_use_builtin message_mode)
  target_compile_definitions(tt_blas INTERFACE TT_BLAS_BUILTIN)
  message(${message_mode} "no BLAS: matrix products use portable C (TT_BLAS=builtin), which is "
    "about five times slower. For full speed install scipy-openblas32 or an OpenBLAS with headers.")
endfunction()

if(TT_BLAS STREQUAL "auto")
  foreach(choice accelerate bundled system)
    cmake_language(CALL tt_try_${choice})
    if(found)
      message(STATUS "BLAS: ${choice}")
      break()
    endif()
  endforeach()
  if(NOT found)
    if(TT_REFERENCE_BLAS)
      message(WARNING "ignored ${TT_REFERENCE_BLAS}: it looks like the reference BLAS")
    endif()
    tt_use_builtin(WARNING)
  endif()
elseif(TT_BLAS MATCHES "^(accelerate|bundled|system)$")
  cmake_language(CALL tt_try_${TT_BLAS})
  if(NOT found)
    if(TT_REFERENCE_BLAS)
      message(FATAL_ERROR "TT_BLAS=system: found only ${TT_REFERENCE_BLAS}, which looks like the "
        "reference BLAS, an order of magnitude slower than a tuned one. Install OpenBLAS or BLIS "
        "with headers, name a tuned library with -DBLA_VENDOR=..., or use TT_BLAS=bundled or "
        "TT_BLAS=builtin.")
    endif()
    set(hint_accelerate "Accelerate is part of macOS only")
    set(hint_bundled "the Python that CMake found has no package scipy-openblas32")
    set(hint_system "no OpenBLAS, BLIS or MKL with CBLAS header and library was found")
    message(FATAL_ERROR "TT_BLAS=${TT_BLAS}: ${hint_${TT_BLAS}}")
  endif()
  message(STATUS "BLAS: ${TT_BLAS}")
elseif(TT_BLAS STREQUAL "builtin")
  tt_use_builtin(NOTICE) # it was asked for
else()
  message(FATAL_ERROR
    "TT_BLAS=${TT_BLAS}: expected auto, accelerate, bundled, system or builtin")
endif()
