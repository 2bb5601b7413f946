// Convolutions and matrix products of i8 or u8 by i8 on NHWC activations. The sums are exact i32; they are the result,
// or are scaled, joined with a bias and a residual, activated and quantised again, every step rounded to f32 in that
// order. A matrix product is a 1x1 convolution of one line of pixels. Weights are packed once, for one instruction set.
// Nothing here allocates; workspaces and packed weights are 64-byte aligned.
#pragma once

#include "kernels/cpu/conv/gathered.h"

namespace hone::cpu {

// What products of 8 bits are computed with, worst first.
enum class Int8Set { scalar, avx2, avx512, vnni, amx };

const char* int8_set_name(Int8Set set);
// Whether this CPU, and for AMX the system, lets it run.
bool has_int8_set(Int8Set set);
// The best of those that belong to `tier` or a lower one.
Int8Set best_int8_set(Tier tier);

// sum' = sum + offset + row_sum * factor in i32, which wraps, where they are given: what zero points add to products.
// y = act(f32(sum') * scale + bias + residual), or act(..) + residual; when quantised,
// clip(round(y * step) + zero) in i8.
struct Int8Epilogue {
  const int32_t* offset = nullptr;    // one a channel
  const int32_t* row_sums = nullptr;  // one an output pixel; not of depthwise convolutions
  const int32_t* factor = nullptr;    // one a channel, where there are row sums
  const float* scale = nullptr;       // one a channel; null: the result is the i32 sums
  Epilogue real;                      // bias, activation and an f32 residual
  const int8_t* residual = nullptr;
  float residual_scale = 1.f, residual_zero = 0.f;  // of an i8 residual: (residual - zero) * scale
  bool quantized = false;
  const float* step = nullptr;  // one a channel; null: 1
  bool divides = false;         // y / step instead of y * step
  int zero = 0;
  float low = -128.f, high = 127.f;
};

struct Int8Context {
  Int8Set set = Int8Set::scalar;
  bool unsigned_in = false;  // the activations are u8
  int threads = 1;           // size of the pool that the run will get
  int split = 0;             // what threads share out: 1 rows, 2 output channels; 0: chosen by the shape
  int row_block = 0;         // output pixels a block; 0: what fits into L2
};

using Int8Weights = WeightView<int8_t>;

struct Int8Args {
  const void* in = nullptr;  // i8 or u8
  const void* packed = nullptr;
  void* out = nullptr;  // i32, f32 or i8, as the epilogue says; may be the residual
  Int8Epilogue epilogue;
  void* workspace = nullptr;
  ThreadPool* pool = nullptr;
};

size_t int8_packed_bytes(const ConvProblem& p, Int8Set set);
// For the activations that the context names.
void int8_pack(const ConvProblem& p, const Int8Context& context, const Int8Weights& weights, void* packed);
size_t int8_workspace_bytes(const ConvProblem& p, const Int8Context& context);
void int8_conv(const ConvProblem& p, const Int8Context& context, const Int8Args& args);

// One channel a group, as many out as in. Weights are packed alike for all sets, and made ready for one before they are
// used: `packed` of the arguments are those made ready.
size_t int8_depthwise_packed_bytes(const ConvProblem& p);
void int8_depthwise_pack(const ConvProblem& p, const Int8Weights& weights, void* packed);
size_t int8_depthwise_ready_bytes(const ConvProblem& p, const Int8Context& context);
void int8_depthwise_ready(const ConvProblem& p, const Int8Context& context, const void* packed, void* ready);
size_t int8_depthwise_workspace_bytes(const ConvProblem& p, const Int8Context& context);
void int8_depthwise(const ConvProblem& p, const Int8Context& context, const Int8Args& args);

// 3x3 convolutions of one group with strides of 1, by Winograd's F(4x4, 3x3) in whole numbers (winograd_kernel.h):
// a quarter of the products, of 16 bits, and the same sums. Not with AMX, whose products of bytes are faster.
// Why it cannot be, or null; with weights, whether their sums are small enough.
const char* int8_winograd_refusal(const ConvProblem& p, const Int8Context& context, const Int8Weights* weights);
size_t int8_winograd_packed_bytes(const ConvProblem& p, Int8Set set);
void int8_winograd_pack(const ConvProblem& p, const Int8Context& context, const Int8Weights& weights, void* packed);
// row_block: tiles of 4x4 pixels.
size_t int8_winograd_workspace_bytes(const ConvProblem& p, const Int8Context& context);
void int8_winograd(const ConvProblem& p, const Int8Context& context, const Int8Args& args);

}  // namespace hone::cpu
