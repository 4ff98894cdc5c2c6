# Collects the operations. Each file in csrc/ops and csrc/fused declares its own with a line that
# begins TT_OP(name, ...). From these, two headers are written:
#
#   ops_gen.h       #define TT_EACH_OP(X) X(add) X(div) ...     alphabetical
#   ops_include.h   #include "ops/add.c" ...
set(TT_GENERATED_DIR ${CMAKE_CURRENT_BINARY_DIR}/generated)

file(GLOB op_files RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/csrc CONFIGURE_DEPENDS
  csrc/ops/*.c csrc/fused/*.c)
list(SORT op_files)

set(op_names)
set(op_includes "")
foreach(file IN LISTS op_files)
  string(APPEND op_includes "#include \"${file}\"\n")
  file(STRINGS csrc/${file} declarations REGEX "^TT_OP\\(")
  foreach(declaration IN LISTS declarations)
    if(NOT declaration MATCHES "^TT_OP\\( *([a-z_][a-z0-9_]*) *,")
      message(FATAL_ERROR "csrc/${file}: cannot read the name in: ${declaration}")
    endif()
    list(APPEND op_names ${CMAKE_MATCH_1})
  endforeach()
  # An edit may add or rename an operation: look again.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS csrc/${file})
endforeach()

list(SORT op_names)
set(unique_names ${op_names})
list(REMOVE_DUPLICATES unique_names)
if(NOT unique_names STREQUAL op_names)
  message(FATAL_ERROR "an operation is declared twice: ${op_names}")
endif()
list(TRANSFORM op_names REPLACE "(.+)" " X(\\1)")
list(JOIN op_names "" each_op)

set(note "/* Written by cmake/ops.cmake from the TT_OP lines of csrc/ops and csrc/fused. */\n")
file(CONFIGURE OUTPUT ${TT_GENERATED_DIR}/ops_gen.h @ONLY
  CONTENT "${note}#define TT_EACH_OP(X)${each_op}\n")
file(CONFIGURE OUTPUT ${TT_GENERATED_DIR}/ops_include.h @ONLY CONTENT "${note}${op_includes}")
