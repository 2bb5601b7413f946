#pragma once

#include <map>
#include <string>

#include "base/tensor.h"

namespace hone::calibrate {

// The arrays of a NumPy .npz file (a zip of .npy), compressed or not, by name. Errors name the file and the array.
Result<std::map<std::string, Tensor>> read_npz(const std::string& path);

}  // namespace hone::calibrate
