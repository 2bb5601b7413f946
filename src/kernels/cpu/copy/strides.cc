// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/copy/strides.h"

namespace hone::cpu {

void collapse_dims(std::vector<int64_t>& dims, std::span<std::vector<int64_t>> strides) {
  size_t kept = 0;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] == 1) continue;
    bool joins = kept > 0;
    for (const auto& s : strides) joins = joins && s[kept - 1] == s[d] * dims[d];
    if (joins) {
      dims[kept - 1] *= dims[d];
    } else {
      dims[kept++] = dims[d];
    }
    for (auto& s : strides) s[kept - 1] = s[d];
  }
  if (kept == 0) {
    dims.assign(1, 1);
    for (auto& s : strides) s.assign(1, 0);
    return;
  }
  dims.resize(kept);
  for (auto& s : strides) s.resize(kept);
}

}  // namespace hone::cpu
