// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Convolution in fp32 on NHWC activations: problem, algorithms and the table they are chosen from.
// A 1-D convolution is one of height 1. Weights come in ONNX order [cout][cin / groups][kh][kw] and
// are packed once, before the first run. Nothing here allocates; pointers are 64-byte aligned where
// they are packed weights or workspace, and otherwise only need the alignment of float.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu_info.h"
#include "base/thread_pool.h"
#include "kernels/cpu/gemm/epilogue.h"

namespace hone::cpu {

struct ConvProblem {
  int64_t n = 1, h = 1, w = 1, cin = 1, cout = 1;
  int64_t kh = 1, kw = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t groups = 1;
  // Elements from one pixel to the next, so that a tensor may be a slice of a wider one; 0: dense.
  int64_t in_ldc = 0, out_ldc = 0;

  bool operator==(const ConvProblem&) const = default;
  int64_t out_h() const { return (h + pad_top + pad_bottom - dilation_h * (kh - 1) - 1) / stride_h + 1; }
  int64_t out_w() const { return (w + pad_left + pad_right - dilation_w * (kw - 1) - 1) / stride_w + 1; }
  int64_t in_pitch() const { return in_ldc > 0 ? in_ldc : cin; }
  int64_t out_pitch() const { return out_ldc > 0 ? out_ldc : cout; }
};

// The tunables of all algorithms; 0 lets the algorithm choose. None of them changes packed weights.
struct ConvVariant {
  int split = 0;       // what threads share out: 1 rows (Winograd: tiles), 2 output channels
  int row_block = 0;   // dense: output pixels a block
  int k_block = 0;     // dense: longest stretch of the sum over which B stays in L1
  int tile_block = 0;  // Winograd: tiles transformed together
  int join_lines = 0;  // conv_direct: 1 sums over whole lines of a window at once, 2 over single pixels
  bool operator==(const ConvVariant&) const = default;
};

struct ConvContext {
  Tier tier = best_tier();
  int threads = 1;  // size of the pool that run() will get
  ConvVariant variant = {};
  bool in_bf16 = false;  // input, output and residual lie in memory as bf16: for CPUs with AVX-512 BF16
};

struct ConvArgs {
  const void* in = nullptr;  // f32, or bf16 where the context says so
  const void* packed = nullptr;
  void* out = nullptr;
  Epilogue epilogue;
  void* workspace = nullptr;
  ThreadPool* pool = nullptr;
};

struct ConvAlgorithm {
  const char* name;
  // nullptr, or why not.
  const char* (*supports)(const ConvProblem& p);
  size_t (*packed_bytes)(const ConvProblem& p, Tier tier);
  void (*pack)(const ConvProblem& p, Tier tier, const float* weights, void* packed);
  size_t (*workspace_bytes)(const ConvProblem& p, const ConvContext& ctx);
  void (*run)(const ConvProblem& p, const ConvContext& ctx, const ConvArgs& args);
  // Candidates worth timing, the default first; writes at most variants.size() and returns how many.
  size_t (*candidates)(const ConvProblem& p, const ConvContext& ctx, std::span<ConvVariant> variants);
  // The most that its transforms add to the error, relative to the layer's largest output (conv_test checks that
  // measured errors stay below); nullptr: nothing, it sums the products as they are.
  double (*error_bound)(const ConvProblem& p, const float* weights) = nullptr;
  bool takes_bf16 = false;  // whether ConvContext::in_bf16 may be set
  bool takes_f32 = true;    // whether it may not be: what multiplies bf16 takes tensors in bf16 alone
  Tier least_tier = Tier::scalar;
};

// Every algorithm, special ones first; the last supports everything.
std::span<const ConvAlgorithm* const> conv_algorithms();
const ConvAlgorithm* find_conv_algorithm(const char* name);

}  // namespace hone::cpu
