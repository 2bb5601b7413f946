// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/peak/peak.h"

namespace hone::cpu {

namespace scalar {
extern const PeakKernel kPeakKernel;
}
namespace avx2 {
extern const PeakKernel kPeakKernel;
}
namespace avx512 {
extern const PeakKernel kPeakKernel;
}

const PeakKernel& peak_kernel(Tier tier) {
  switch (tier) {
    case Tier::avx512: return avx512::kPeakKernel;
    case Tier::avx2: return avx2::kPeakKernel;
    case Tier::scalar: break;
  }
  return scalar::kPeakKernel;
}

}  // namespace hone::cpu
