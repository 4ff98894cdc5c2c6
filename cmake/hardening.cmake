# What a compiler and linker can do against errors that memory-unsafe code may still hold, where
# they know it: guarded stacks, checked library calls, branch targets that the processor verifies
# (CET, BTI), and tables of addresses that are read-only once the library is loaded. Nor is there a
# build id: what is built depends on the sources and the compiler alone.
#
# Flags go to tt_flags. A build with sanitizers has checks of its own, with which these interfere.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)

function(tt_add_compile_flag name flag)
  check_c_compiler_flag("${flag}" TT_HAS_${name})
  if(TT_HAS_${name})
    target_compile_options(tt_flags INTERFACE ${flag})
  endif()
endfunction()

function(tt_add_link_flag name flag)
  check_linker_flag(C "${flag}" TT_HAS_${name})
  if(TT_HAS_${name})
    target_link_options(tt_flags INTERFACE ${flag})
  endif()
endfunction()

if(NOT TT_SANITIZE)
  tt_add_compile_flag(STACK_PROTECTOR -fstack-protector-strong)
  tt_add_compile_flag(STACK_CLASH -fstack-clash-protection)
  tt_add_compile_flag(CF_PROTECTION -fcf-protection=full)
  tt_add_compile_flag(BRANCH_PROTECTION -mbranch-protection=standard)
  # Level 3 wants a compiler that knows the sizes of objects at run time; without optimisation the
  # C library warns that it checks nothing.
  set(CMAKE_REQUIRED_FLAGS "-O2 -Werror")
  check_c_compiler_flag("-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3" TT_HAS_FORTIFY_3)
  unset(CMAKE_REQUIRED_FLAGS)
  if(TT_HAS_FORTIFY_3)
    set(fortify -D_FORTIFY_SOURCE=3)
  else()
    set(fortify -D_FORTIFY_SOURCE=2)
  endif()
  target_compile_options(tt_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE ${fortify}>)
endif()

tt_add_link_flag(RELRO -Wl,-z,relro)
tt_add_link_flag(BIND_NOW -Wl,-z,now)
tt_add_link_flag(NO_EXEC_STACK -Wl,-z,noexecstack)
tt_add_link_flag(NO_BUILD_ID -Wl,--build-id=none)
