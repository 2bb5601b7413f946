// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// What a GEMM or convolution does to each output value before it is stored.
#pragma once

#include <cstdint>

namespace hone::cpu {

enum class Activation {
  none,
  relu,
  clip,          // min(max(x, a), b)
  leaky_relu,    // x < 0 ? a * x : x
  hard_swish,    // x * min(max(x / 6 + 0.5, 0), 1)
  hard_sigmoid,  // min(max(a * x + b, 0), 1)
  sigmoid,
  silu,  // x * sigmoid(x)
  tanh,
  gelu_erf,
};

// y = act(acc + bias + residual), or act(acc + bias) + residual.
struct Epilogue {
  const float* bias = nullptr;     // one per output column (channel)
  const void* residual = nullptr;  // same type, shape and row stride as the output; may be the output
  Activation act = Activation::none;
  float a = 0.f, b = 0.f;
  bool residual_after_activation = false;

  // Called on each finished piece of the output while it is in cache: `rows` rows `ld` elements
  // apart, starting at `tile`. A convolution's rows are its output pixels, n * OH * OW + y * OW + x.
  // Pieces never overlap; several workers may call at once.
  void (*tile_hook)(void* user, void* tile, int64_t row0, int64_t rows, int64_t col0, int64_t cols,
                    int64_t ld) = nullptr;
  void* hook_user = nullptr;

  // The residual of an output of type T from an element on, or null.
  template <class T>
  const T* residual_at(int64_t element) const {
    return residual == nullptr ? nullptr : static_cast<const T*>(residual) + element;
  }
};

}  // namespace hone::cpu
