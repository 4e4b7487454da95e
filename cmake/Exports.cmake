# SPDX-License-Identifier: Apache-2.0
# Limits what a shared library exports to the names in a list, one per line, `#` for comments. The linker's own form of
# the list is made from it when CMake runs.
function(simdrive_limit_exports target list)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${list})
  file(STRINGS ${list} names REGEX "^[a-z]")
  if(APPLE)
    list(TRANSFORM names PREPEND "_")
    list(JOIN names "\n" text)
    set(script ${CMAKE_CURRENT_BINARY_DIR}/${target}.symbols)
    set(flag -Wl,-exported_symbols_list,${script})
  elseif(WIN32)
    return() # the header's dllexport marks do it there
  else()
    list(JOIN names ";\n        " text)
    set(script ${CMAKE_CURRENT_BINARY_DIR}/${target}.map)
    set(text "SIMDRIVE_${PROJECT_VERSION_MAJOR} {\n    global:\n        ${text};\n    local:\n        *;\n};")
    set(flag -Wl,--version-script=${script})
  endif()
  file(CONFIGURE OUTPUT ${script} CONTENT "${text}\n" @ONLY)
  target_link_options(${target} PRIVATE ${flag})
  set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${script})
  if(NOT APPLE AND NOT SIMDRIVE_SANITIZE)
    target_link_options(${target} PRIVATE -Wl,-z,defs) # nothing may be left for others to define
  endif()
endfunction()
