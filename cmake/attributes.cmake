# Attributes by name. A line TT_ATTRS(set, ...) names the attributes of an operation: integers
# first, then numbers, each after the word real; a last integer with [] is a list of any length.
#
#   TT_ATTRS(slice, axis, start, step, length)
#   TT_ATTRS(dropout, seed, stream, offset, real p)
#   TT_ATTRS(sum, keepdim, axes[])
#
# From each, ops_attrs.h gets
#
#   dropout_attrs         the struct: int64_t seed, stream, offset; double p;
#   sum_attrs             a list is two members: int n_axes; const int64_t *axes;
#   dropout_read(a)       the struct from the tt_attrs of a call or a node; what is not given is 0
#   dropout_pack(s)       and back
#   dropout_complete(a)   whether every attribute is given, and no other
#   dropout_names         the names as text, for the operation's declaration: "seed stream offset | p"
set(attrs_text "")

function(tt_attribute_set file declaration)
  if(NOT declaration MATCHES "^TT_ATTRS\\( *([a-z_][a-z0-9_]*) *,(.+)\\)$")
    message(FATAL_ERROR "csrc/${file}: cannot read the attributes in: ${declaration}")
  endif()
  set(set ${CMAKE_MATCH_1})
  string(REGEX REPLACE "[ \n]+" " " names "${CMAKE_MATCH_2}")
  string(REPLACE "," ";" names "${names}")
  set(ints 0)
  set(reals 0)
  set(list "")
  foreach(name IN LISTS names)
    string(STRIP "${name}" name)
    if(name MATCHES "^real ([a-z_][a-z0-9_]*)$")
      set(name ${CMAKE_MATCH_1})
      string(APPEND members "    double ${name};\n")
      string(APPEND reading "\n        .${name} = a->reals[${reals}],")
      string(APPEND writing_reals " s.${name},")
      string(APPEND real_names " ${name}")
      math(EXPR reals "${reals} + 1")
    elseif(list OR reals)
      message(FATAL_ERROR "csrc/${file}: ${name} stands behind a list or a real of ${set}")
    elseif(name MATCHES "^([a-z_][a-z0-9_]*)( ?\\[\\])?$")
      set(name ${CMAKE_MATCH_1})
      if(CMAKE_MATCH_2)
        set(list ${name})
        string(APPEND members "    int n_${name};\n    const int64_t *${name};\n")
        string(APPEND reading "\n        .n_${name} = a->n_ints > ${ints} ? a->n_ints - ${ints} : 0,"
          "\n        .${name} = a->ints + ${ints},")
        string(APPEND int_names " ${name}[]")
      else()
        string(APPEND members "    int64_t ${name};\n")
        string(APPEND reading "\n        .${name} = a->ints[${ints}],")
        string(APPEND writing_ints " s.${name},")
        string(APPEND int_names " ${name}")
        math(EXPR ints "${ints} + 1")
      endif()
    else()
      message(FATAL_ERROR "csrc/${file}: ${name} is no name of an attribute of ${set}")
    endif()
  endforeach()
  set(n_ints ${ints})
  set(compare "==")
  if(list)
    set(n_ints "${ints} + s.n_${list}")
    set(compare ">=")
    set(copying "    if (s.n_${list} > 0)
        memcpy(a.ints + ${ints}, s.${list}, (size_t)s.n_${list} * sizeof s.${list}[0]);\n")
  endif()
  if(writing_ints)
    set(writing_ints "\n        .ints = {${writing_ints} },")
  endif()
  if(writing_reals)
    set(writing_reals "\n        .reals = {${writing_reals} },")
  endif()
  if(real_names)
    string(PREPEND real_names " |")
  endif()
  string(STRIP "${int_names}${real_names}" text)
  string(APPEND attrs_text "
/* ${file} */
typedef struct {
${members}} ${set}_attrs;
static const char ${set}_names[] = \"${text}\";
static inline ${set}_attrs ${set}_read(const tt_attrs *a)
{
    return (${set}_attrs){${reading}
    };
}
static inline tt_attrs ${set}_pack(${set}_attrs s)
{
    tt_attrs a = {
        .n_ints = ${n_ints},
        .n_reals = ${reals},${writing_ints}${writing_reals}
    };
${copying}    return a;
}
static inline bool ${set}_complete(const tt_attrs *a)
{
    return a->n_ints ${compare} ${ints} && a->n_reals == ${reals};
}
")
  set(attrs_text "${attrs_text}" PARENT_SCOPE)
endfunction()

foreach(file IN LISTS op_files ITEMS attributes.h)
  file(READ csrc/${file} text)
  string(REGEX MATCHALL "\nTT_ATTRS\\([^)]*\\)" declarations "${text}")
  foreach(declaration IN LISTS declarations)
    string(STRIP "${declaration}" declaration)
    tt_attribute_set(${file} "${declaration}")
  endforeach()
endforeach()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS csrc/attributes.h)

file(CONFIGURE OUTPUT ${TT_GENERATED_DIR}/ops_attrs.h @ONLY
  CONTENT "/* Written by cmake/attributes.cmake from the TT_ATTRS lines. */\n@attrs_text@")
