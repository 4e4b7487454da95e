# SPDX-License-Identifier: Apache-2.0
# Flags, as two interface targets, neither of which reaches those who link the installed library:
#   simdrive_flags    warnings, sanitizers, hardening: for everything built here
#   simdrive_options  the same, and what the library's own sources and their tests see besides: internal headers,
#                     libxxhash, the alignment
include(CheckCCompilerFlag)
include(CheckLinkerFlag)
include(CheckPIESupported)

add_library(simdrive_flags INTERFACE)
add_library(simdrive_options INTERFACE)
target_link_libraries(simdrive_options INTERFACE simdrive_flags)

# Warnings that gcc and clang both know; the others are asked for first.
target_compile_options(simdrive_flags INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual
  -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wno-format-nonliteral -Wimplicit-fallthrough
  -Wdouble-promotion -Wnull-dereference $<$<BOOL:${SIMDRIVE_WERROR}>:-Werror>)
foreach(warning -Wlogical-op -Wduplicated-cond -Wduplicated-branches)
  string(MAKE_C_IDENTIFIER "SIMDRIVE_HAVE${warning}" known)
  check_c_compiler_flag(${warning} ${known})
  if(${known})
    target_compile_options(simdrive_flags INTERFACE ${warning})
  endif()
endforeach()

# One set of objects serves the static and the shared library, so all of it is position-independent, and executables
# are linked as such too.
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
check_pie_supported(LANGUAGES C)

target_compile_definitions(simdrive_options INTERFACE SIMDRIVE_ALIGNMENT=${SIMDRIVE_ALIGNMENT} _GNU_SOURCE)
target_include_directories(simdrive_options INTERFACE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
target_link_libraries(simdrive_flags INTERFACE Threads::Threads)

# libxxhash is used through its header only: needed to build, never to link.
find_path(XXHASH_INCLUDE_DIR xxhash.h)
if(NOT XXHASH_INCLUDE_DIR)
  message(FATAL_ERROR "xxhash.h is missing: install libxxhash-dev (Debian), xxhash-devel (Fedora) or xxhash (Homebrew)")
endif()
target_include_directories(simdrive_options SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})

# Hardening, and sanitizers in its place where they are asked for: FORTIFY_SOURCE hides calls from them.
function(simdrive_link_option_if_known flag)
  string(MAKE_C_IDENTIFIER "SIMDRIVE_HAVE${flag}" known)
  check_linker_flag(C ${flag} ${known})
  if(${known})
    target_link_options(simdrive_flags INTERFACE ${flag})
  endif()
endfunction()

if(SIMDRIVE_SANITIZE)
  target_compile_options(simdrive_flags INTERFACE
    -fsanitize=${SIMDRIVE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(simdrive_flags INTERFACE -fsanitize=${SIMDRIVE_SANITIZE})
else()
  target_compile_options(simdrive_flags INTERFACE -fstack-protector-strong
    $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE> $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
  # Shadow stacks and landing pads are left as the distribution's compiler has them: they protect only where all that is
  # linked has them, the C library's start files too. No stack clash protection and no third level of fortified calls:
  # nothing here has a frame of a size that a caller or a file chooses, and together they cost single reads and writes 3
  # and 4 %.
  simdrive_link_option_if_known(-Wl,-z,relro)
  simdrive_link_option_if_known(-Wl,-z,now)
  simdrive_link_option_if_known(-Wl,-z,noexecstack)
endif()

# The hot paths cross files (a read: store, index, format), so release builds are optimised over all of them, where the
# compiler can leave ordinary code in the static library as well: not everybody who links it has the same one.
if(SIMDRIVE_LTO AND NOT SIMDRIVE_SANITIZE AND CMAKE_BUILD_TYPE MATCHES "^(Release|RelWithDebInfo)$")
  include(CheckIPOSupported)
  check_ipo_supported(RESULT simdrive_has_lto OUTPUT simdrive_no_lto LANGUAGES C)
  check_c_compiler_flag(-ffat-lto-objects SIMDRIVE_HAVE_FAT_LTO)
  if(simdrive_has_lto AND SIMDRIVE_HAVE_FAT_LTO)
    set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
    target_compile_options(simdrive_flags INTERFACE -ffat-lto-objects)
  endif()
endif()
