#pragma once

#include <string>

#include "base/store.h"
#include "base/tensor.h"

// NVIDIA's run-time compiler, opened when it is needed. It needs no GPU.
namespace hone::cuda {

// "13.0", or why it cannot be had.
Result<std::string> nvrtc_version();

// Device code of `source` for `arch` ("sm_90"), as u8. The same source is compiled once in a process, and once for all
// processes that give the same `store`; null: none. Thread safe. Multiplications and additions are contracted, as on
// the CPU; nothing else is relaxed.
Result<Tensor> compile(const std::string& source, const std::string& arch, const Store* store = nullptr);

}  // namespace hone::cuda
