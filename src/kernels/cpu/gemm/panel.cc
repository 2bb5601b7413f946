// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm/panel.h"

namespace hone::cpu {

namespace scalar {
extern const PanelKernel kPanelKernel;
}
namespace avx2 {
extern const PanelKernel kPanelKernel;
}
namespace avx512 {
extern const PanelKernel kPanelKernel;
}

const PanelKernel& panel_kernel(Tier tier) {
  switch (tier) {
    case Tier::avx512: return avx512::kPanelKernel;
    case Tier::avx2: return avx2::kPanelKernel;
    case Tier::scalar: break;
  }
  return scalar::kPanelKernel;
}

}  // namespace hone::cpu
