// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Windows of a convolution as pointers into its NHWC input, for kernels that read them in place.
#pragma once

#include "kernels/cpu/conv/conv.h"

namespace hone::cpu {

struct WindowSource {
  const ConvProblem* p;
  const float* in;
  const float* zeros;  // kw * cin of them
};

// For output pixels [row0, row0 + m), context a WindowSource; both fit DenseJob::fill_rows.
// rows[tap * rows_ld + i]: cin values; taps in the padding point to zeros. `scratch` is not used.
void point_taps(const void* context, int64_t row0, int64_t m, const float** rows, int64_t rows_ld, float* scratch);
// rows[ky * rows_ld + i]: the kw * cin values of a whole line of a window; in place where they are
// adjacent in memory, elsewhere in `scratch`, which has room for m * kh lines. One group only.
void point_lines(const void* context, int64_t row0, int64_t m, const float** rows, int64_t rows_ld, float* scratch);

}  // namespace hone::cpu
