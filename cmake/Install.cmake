# SPDX-License-Identifier: Apache-2.0
# What is installed: header, libraries, pkg-config file, CMake package. The command line installs itself (cli/).
include(CMakePackageConfigHelpers)

set(libraries simdrive_static)
if(SIMDRIVE_BUILD_SHARED)
  list(APPEND libraries simdrive_shared)
endif()
install(TARGETS ${libraries} EXPORT simdriveTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT development
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
install(FILES ${PROJECT_SOURCE_DIR}/include/simdrive.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
if(EXISTS ${PROJECT_SOURCE_DIR}/LICENSE)
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
endif()

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/simdrive)
install(EXPORT simdriveTargets NAMESPACE simdrive:: DESTINATION ${package_folder} COMPONENT development)
configure_package_config_file(${PROJECT_SOURCE_DIR}/packaging/simdriveConfig.cmake.in
  ${PROJECT_BINARY_DIR}/simdriveConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/simdriveConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/simdriveConfig.cmake ${PROJECT_BINARY_DIR}/simdriveConfigVersion.cmake
  DESTINATION ${package_folder} COMPONENT development)

# Paths in the .pc file follow its own place when they are below the prefix, so that a moved tree still works.
function(simdrive_pc_path variable folder)
  if(IS_ABSOLUTE ${folder})
    set(${variable} ${folder} PARENT_SCOPE)
  else()
    set(${variable} "\${prefix}/${folder}" PARENT_SCOPE)
  endif()
endfunction()
simdrive_pc_path(pc_libdir ${CMAKE_INSTALL_LIBDIR})
simdrive_pc_path(pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})
configure_file(${PROJECT_SOURCE_DIR}/packaging/simdrive.pc.in ${PROJECT_BINARY_DIR}/simdrive.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/simdrive.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

# The bill of materials. Its time is that of the configuration, or SOURCE_DATE_EPOCH, so that builds can be reproduced.
file(STRINGS ${XXHASH_INCLUDE_DIR}/xxhash.h xxhash_parts REGEX "^#define XXH_VERSION_(MAJOR|MINOR|RELEASE) +[0-9]+")
string(REGEX REPLACE "[^;0-9]*#define XXH_VERSION_[A-Z]+ +" "" xxhash_parts "${xxhash_parts}")
list(JOIN xxhash_parts "." xxhash_version)
string(TIMESTAMP sbom_created "%Y-%m-%dT%H:%M:%SZ" UTC) # SOURCE_DATE_EPOCH, where that is set
string(SHA256 sbom_id "${PROJECT_VERSION} ${xxhash_version} ${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}")
configure_file(${PROJECT_SOURCE_DIR}/packaging/simdrive.spdx.json.in ${PROJECT_BINARY_DIR}/simdrive.spdx.json @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/simdrive.spdx.json DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
