# Collects the operations. Each file in csrc/ops and csrc/fused declares its own with a line that
# begins TT_OP(name, ...). From these, three headers are written, and a fourth by attributes.cmake
# from the lines TT_ATTRS(set, ...):
#
#   ops_gen.h                #define TT_EACH_OP(X) X(add) X(div) ...     alphabetical, and
#                            #define TT_EACH_INTEGER_OP(X) ...           those that integers have
#   ops_include.h            #include "ops/add.c" ...
#   ops_include_integers.h   #include "ops/add.c" ...    the files that hold those
#
# Integers have an operation whose declaration has the flag TT_INTEGERS or TT_ANY_DTYPE.
set(TT_GENERATED_DIR ${CMAKE_CURRENT_BINARY_DIR}/generated)

file(GLOB op_files RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/csrc CONFIGURE_DEPENDS
  csrc/ops/*.c csrc/fused/*.c)
list(SORT op_files)

set(op_names)
set(op_includes "")
set(integer_op_names)
set(integer_op_files)
set(integer_op_includes "")
foreach(file IN LISTS op_files)
  string(APPEND op_includes "#include \"${file}\"\n")
  file(STRINGS csrc/${file} declarations REGEX "^TT_OP\\(")
  foreach(declaration IN LISTS declarations)
    if(NOT declaration MATCHES "^TT_OP\\( *([a-z_][a-z0-9_]*) *,")
      message(FATAL_ERROR "csrc/${file}: cannot read the name in: ${declaration}")
    endif()
    list(APPEND op_names ${CMAKE_MATCH_1})
  endforeach()
  file(READ csrc/${file} text)
  string(REGEX MATCHALL "\nTT_OP\\(([^()]|\\([^()]*\\))*TT_(INTEGERS|ANY_DTYPE)" declarations "${text}")
  foreach(declaration IN LISTS declarations)
    string(REGEX MATCH "TT_OP\\( *([a-z_][a-z0-9_]*)" name "${declaration}")
    list(APPEND integer_op_names ${CMAKE_MATCH_1})
  endforeach()
  if(declarations)
    list(APPEND integer_op_files ${file})
    string(APPEND integer_op_includes "#include \"${file}\"\n")
  endif()
  # An edit may add or rename an operation: look again.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS csrc/${file})
endforeach()

list(SORT op_names)
set(unique_names ${op_names})
list(REMOVE_DUPLICATES unique_names)
if(NOT unique_names STREQUAL op_names)
  message(FATAL_ERROR "an operation is declared twice: ${op_names}")
endif()
function(tt_join_names result)
  list(SORT ARGN)
  list(TRANSFORM ARGN REPLACE "(.+)" " X(\\1)")
  list(JOIN ARGN "" joined)
  set(${result} "${joined}" PARENT_SCOPE)
endfunction()
tt_join_names(each_op ${op_names})
tt_join_names(each_integer_op ${integer_op_names})

set(note "/* Written by cmake/ops.cmake from the TT_OP lines of csrc/ops and csrc/fused. */\n")
file(CONFIGURE OUTPUT ${TT_GENERATED_DIR}/ops_gen.h @ONLY
  CONTENT "${note}#define TT_EACH_OP(X)${each_op}\n#define TT_EACH_INTEGER_OP(X)${each_integer_op}\n")
file(CONFIGURE OUTPUT ${TT_GENERATED_DIR}/ops_include.h @ONLY CONTENT "${note}${op_includes}")
file(CONFIGURE OUTPUT ${TT_GENERATED_DIR}/ops_include_integers.h @ONLY
  CONTENT "${note}${integer_op_includes}")
include(cmake/attributes.cmake) # writes ops_attrs.h
