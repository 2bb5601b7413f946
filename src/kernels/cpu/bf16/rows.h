#pragma once

#include <cstdint>

#include "base/dtype.h"

// Rows of numbers from bf16 to f32 and back, to nearest even: for CPUs with AVX-512 BF16.
namespace hone::cpu::avx512_bf16 {

void widen_row(const bf16* x, int64_t count, float* y);
void narrow_row(const float* x, int64_t count, bf16* y);

}  // namespace hone::cpu::avx512_bf16
