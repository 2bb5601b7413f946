// Convolutions and matrix products whose factors are bf16. Tensors are bf16 in memory, input, result and residual, or
// all of them f32: then activations are rounded where they are gathered. Weights are rounded when they are packed.
// Products of bf16 are exact in f32, and so are sums but for rounding: the instructions (vdpbf16ps, tdpbf16ps) add in
// f32, to nearest even, in an order of their own, and take denormal factors and sums for 0. The bias, the residual and
// the activation are added and applied in f32; a result in bf16 is rounded once, to nearest even. A matrix product is a
// 1x1 convolution of one line of pixels. Nothing that runs allocates; workspaces and packed weights are 64-byte
// aligned.
#pragma once

#include <optional>

#include "kernels/cpu/conv/conv_transpose.h"
#include "kernels/cpu/conv/gathered.h"

namespace hone::cpu {

// What multiplies, worst first. There is none for CPUs without such instructions: f32 is faster there.
enum class Bf16Set { avx512, amx };

const char* bf16_set_name(Bf16Set set);
// Whether this CPU, and for AMX the system, lets it run.
bool has_bf16_set(Bf16Set set);
// The best that this CPU has; none: it has none.
std::optional<Bf16Set> best_bf16_set();

struct Bf16Kernel;
const Bf16Kernel& bf16_kernel(Bf16Set set);

struct Bf16Args {
  bool in_bf16 = false;  // how tensors lie in memory; else f32
  const void* in = nullptr;
  const void* packed = nullptr;
  void* out = nullptr;  // may be the residual
  Epilogue epilogue;    // its hook is not called
  void* workspace = nullptr;
  ThreadPool* pool = nullptr;
};

size_t bf16_packed_bytes(const ConvProblem& p, const Bf16Kernel& kernel);
void bf16_pack(const ConvProblem& p, const Bf16Kernel& kernel, const WeightView<float>& weights, void* packed);
size_t bf16_workspace_bytes(const ConvProblem& p, const Bf16Kernel& kernel, const GatherSharing& sharing);
void bf16_conv(const ConvProblem& p, const Bf16Kernel& kernel, const GatherSharing& sharing, const Bf16Args& args);

// Transposed, as a convolution for each phase of its output pixels. Weights come as conv_transpose() has them.
size_t bf16_transposed_packed_bytes(const ConvTransposeProblem& p, const Bf16Kernel& kernel);
void bf16_transposed_pack(const ConvTransposeProblem& p, const Bf16Kernel& kernel, const float* weights, void* packed);
size_t bf16_transposed_workspace_bytes(const ConvTransposeProblem& p, const Bf16Kernel& kernel, int threads);
void bf16_conv_transpose(const ConvTransposeProblem& p, const Bf16Kernel& kernel, int threads, const Bf16Args& args);

// C = epilogue(A * B) for each item of a batch, whose matrices lie behind each other, with B as it is: it is packed on
// the way. The epilogue's bias is shared by the batch.
struct Bf16Product {
  int64_t batch = 1, m = 0, n = 0, k = 0;
  bool transposed = false;  // B has n rows of k values
};
// How work is shared out: each task is rows of an item, and packs what it needs of B.
struct ProductSharing {
  int threads = 1;        // size of the pool that the run will get
  int tasks = 1;          // for each thread, where there are so many
  bool in_place = false;  // rows of A are not gathered where the kernel can do without
};
size_t bf16_product_workspace_bytes(const Bf16Product& p, const Bf16Kernel& kernel, const ProductSharing& sharing);
// `args.packed` is B.
void bf16_product(const Bf16Product& p, const Bf16Kernel& kernel, const ProductSharing& sharing, const Bf16Args& args);

}  // namespace hone::cpu
