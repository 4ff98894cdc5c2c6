# The extension module tinytape._core. cffi writes its source from the part of csrc/tinytape.h
# between the two marker comments, and the C compiler checks that against the header itself. The
# same file holds a second module, tinytape._binding (python/binding): what a step calls most.
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module Development.SABIModule)

set(binding ${CMAKE_CURRENT_BINARY_DIR}/_core.c)
add_custom_command(
  OUTPUT ${binding}
  COMMAND Python::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/cmake/build_ffi.py
    ${CMAKE_CURRENT_SOURCE_DIR}/csrc/tinytape.h ${binding}
  DEPENDS csrc/tinytape.h cmake/build_ffi.py
  COMMENT "Writing the Python binding from csrc/tinytape.h"
  VERBATIM)

python_add_library(_core MODULE USE_SABI 3.10 WITH_SOABI ${binding}
  python/binding/binding.c python/binding/pickling.c python/binding/switches.c
  python/binding/passes.c)
target_link_libraries(_core PRIVATE tt_core tt_flags)
install(TARGETS _core LIBRARY DESTINATION tinytape)

if(TT_BLAS_BUNDLED_LIBRARY)
  # In the build tree too: a path that is written over later leaves its length behind.
  set_target_properties(_core PROPERTIES INSTALL_RPATH "$ORIGIN/.libs" BUILD_WITH_INSTALL_RPATH ON)
  install(FILES ${TT_BLAS_BUNDLED_LIBRARY} DESTINATION tinytape/.libs)
  install(FILES ${TT_BLAS_BUNDLED_LICENSE} DESTINATION tinytape/.libs RENAME LICENSE-OpenBLAS.txt)
endif()
