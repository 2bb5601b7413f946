# The two shared libraries and what `cmake --install` puts where: the program, libhone, libhone_runtime, the headers,
# the CMake package and the pkg-config files. Only the public API is exported from the libraries.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set_target_properties(hone_api hone_builder PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_compile_definitions(hone_api PRIVATE HONE_OWN_SOURCES HONE_VERSION="${PROJECT_VERSION}")
target_compile_definitions(hone_builder PRIVATE HONE_OWN_SOURCES)

# hone_shared_library(NAME EXPORTED_AS ROOMS room...): the objects of the rooms, and of others what they need.
function(hone_shared_library name exported_as)
  cmake_parse_arguments(ARG "" "" "ROOMS" ${ARGN})
  set(target ${name}_shared)
  set(objects ${ARG_ROOMS})
  list(TRANSFORM objects REPLACE "(.+)" "$<TARGET_OBJECTS:hone_\\1>")
  list(TRANSFORM ARG_ROOMS PREPEND hone_ OUTPUT_VARIABLE rooms)
  add_library(${target} SHARED ${objects})
  target_link_libraries(${target} PRIVATE ${rooms})
  target_include_directories(${target} INTERFACE
    $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(${target} INTERFACE cxx_std_17)
  target_link_options(${target} PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/hone.map -Wl,--gc-sections)
  hone_flags(${target})
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME ${name} EXPORT_NAME ${exported_as} LINKER_LANGUAGE CXX LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/hone.map)
  add_library(hone::${exported_as} ALIAS ${target})
  install(TARGETS ${target} EXPORT hone-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})

  # Relative to where the file lies, so that `--prefix` and moved trees work.
  set(HONE_PC_NAME ${name})
  file(RELATIVE_PATH HONE_PC_INCLUDE ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_FULL_INCLUDEDIR})
  configure_file(${CMAKE_SOURCE_DIR}/cmake/hone.pc.in ${CMAKE_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

hone_shared_library(hone_runtime runtime ROOMS api)
hone_shared_library(hone hone ROOMS api builder)

install(TARGETS hone RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/hone DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/hone)
install(EXPORT hone-targets NAMESPACE hone:: FILE hone-config.cmake DESTINATION ${package})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/hone-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/hone-config-version.cmake DESTINATION ${package})
