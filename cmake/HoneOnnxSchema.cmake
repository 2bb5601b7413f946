# hone_onnx_schema: C++ classes of ONNX's own protobuf schema, which comes with the onnx Python package.
if(DEFINED ENV{HONE_CACHE})
  set(HONE_ASSETS $ENV{HONE_CACHE})
else()
  set(HONE_ASSETS $ENV{HOME}/.cache/hone/assets)
endif()
set(HONE_ONNX_SCHEMA ${HONE_ASSETS}/onnx-schema CACHE PATH "Folder that holds onnx/onnx-ml.proto and onnx-data.proto")
if(NOT EXISTS ${HONE_ONNX_SCHEMA}/onnx/onnx-data.proto)
  execute_process(COMMAND python3 ${CMAKE_SOURCE_DIR}/scripts/fetch.py --set onnx-schema RESULT_VARIABLE failed)
  if(failed OR NOT EXISTS ${HONE_ONNX_SCHEMA}/onnx/onnx-data.proto)
    message(FATAL_ERROR "ONNX's schema is missing: run scripts/fetch.py --set onnx-schema, or set HONE_ONNX_SCHEMA")
  endif()
endif()

find_package(Protobuf REQUIRED)
set(generated ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${generated}/onnx)
set(sources)
foreach(name onnx-ml onnx-data)
  add_custom_command(
    OUTPUT ${generated}/onnx/${name}.pb.cc ${generated}/onnx/${name}.pb.h
    COMMAND protobuf::protoc --proto_path=${HONE_ONNX_SCHEMA} --cpp_out=${generated} onnx/${name}.proto
    DEPENDS ${HONE_ONNX_SCHEMA}/onnx/${name}.proto)
  list(APPEND sources ${generated}/onnx/${name}.pb.cc)
endforeach()
add_library(hone_onnx_schema STATIC ${sources})
target_include_directories(hone_onnx_schema SYSTEM PUBLIC ${generated})
target_link_libraries(hone_onnx_schema PUBLIC protobuf::libprotobuf)
