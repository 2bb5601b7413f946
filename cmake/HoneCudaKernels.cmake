# Makes the text of each src/kernels/cuda/NAME.cuh available as hone::kernels::NAME_cuh in "kernels/cuda/NAME.cuh.h".
file(GLOB kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kernels/cuda/*.cuh)
foreach(kernel ${kernels})
  get_filename_component(name ${kernel} NAME_WE)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${kernel})
  file(READ ${kernel} text)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/kernels/cuda/${name}.cuh.h @ONLY
       CONTENT "#pragma once
#include <string>
namespace hone::kernels {
inline const std::string @name@_cuh = R\"cuda(@text@)cuda\";
}
")
endforeach()
