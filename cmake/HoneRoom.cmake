# hone_room(NAME [ROOMS room...] [LIBS target...]): a static library of src/NAME/**.cc.
#
# The order of the rooms is enforced by scanning includes when CMake configures: a file may include only its own room
# and the rooms that it reaches through ROOMS. CPU kernels name their instruction set in the file name.
set(HONE_AVX2_FLAGS -mavx2 -mfma -mf16c)
set(HONE_AVX512_FLAGS -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c)
set(HONE_VNNI_FLAGS ${HONE_AVX512_FLAGS} -mavx512vnni)
set(HONE_BF16_FLAGS ${HONE_AVX512_FLAGS} -mavx512bf16)
set(HONE_AMX_FLAGS ${HONE_BF16_FLAGS} -mamx-tile -mamx-int8 -mamx-bf16)

function(hone_flags target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-missing-field-initializers -Wno-psabi
    $<IF:$<CXX_COMPILER_ID:GNU>,-Wno-restrict,-Wno-unknown-pragmas>)
  if(HONE_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(HONE_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${HONE_SANITIZE} -fno-sanitize-recover=all
      -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${HONE_SANITIZE})
  endif()
endfunction()

function(hone_check_includes name allowed files)
  foreach(file ${files})
    file(STRINGS ${file} lines REGEX "^#include \"[a-z]+/")
    foreach(line ${lines})
      string(REGEX REPLACE "^#include \"([a-z]+)/.*" "\\1" room "${line}")
      if(IS_DIRECTORY ${CMAKE_SOURCE_DIR}/src/${room} AND NOT room IN_LIST allowed)
        message(FATAL_ERROR "${file}: room '${name}' may not include room '${room}'")
      endif()
    endforeach()
  endforeach()
endfunction()

function(hone_room name)
  cmake_parse_arguments(ARG "" "" "ROOMS;LIBS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cc)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS
    ${CMAKE_SOURCE_DIR}/src/${name}/*.h ${CMAKE_SOURCE_DIR}/src/${name}/*.inc)
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")

  set(allowed ${name})
  foreach(room ${ARG_ROOMS})
    get_property(reach GLOBAL PROPERTY hone_reach_${room})
    list(APPEND allowed ${reach})
  endforeach()
  list(REMOVE_DUPLICATES allowed)
  set_property(GLOBAL PROPERTY hone_reach_${name} ${allowed})
  hone_check_includes(${name} "${allowed}" "${sources};${headers}")

  add_library(hone_${name} STATIC ${sources})
  target_include_directories(hone_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
  list(TRANSFORM ARG_ROOMS PREPEND hone_ OUTPUT_VARIABLE rooms)
  target_link_libraries(hone_${name} PUBLIC ${rooms} ${ARG_LIBS})
  hone_flags(hone_${name})

  foreach(file ${sources})
    set(flags)
    foreach(set AVX2 AVX512 VNNI BF16 AMX)
      string(TOLOWER ${set} suffix)
      if(file MATCHES "_${suffix}\\.cc$")
        set(flags ${HONE_${set}_FLAGS})
      endif()
    endforeach()
    if(file MATCHES "/int8/")  # whose results are the same integers everywhere
      list(APPEND flags -ffp-contract=off)
    endif()
    if(file MATCHES "/pointwise/")  # whose loops are written for the compiler to vectorise
      list(APPEND flags $<$<CXX_COMPILER_ID:GNU>:-fvect-cost-model=dynamic>)
    endif()
    if(flags)  # which keep a file out of a unity build, empty ones too
      set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS "${flags}" SKIP_PRECOMPILE_HEADERS ON)
    endif()
  endforeach()
endfunction()
