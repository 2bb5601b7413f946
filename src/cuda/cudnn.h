#pragma once

#include <array>
#include <compare>
#include <memory>
#include <vector>

#include "cuda/device.h"
#include "cuda/library.h"

// NVIDIA's library of convolutions, opened when it is needed. Names and values are those of its reference.
namespace hone::cuda {

// Of the library that is here, or why there is none. It needs no GPU.
Result<LibraryVersion> cudnn_version();

// y = activation(conv(x, w) + residual + bias), all of one type but the sums, which are f32: x [n][h][w][groups * cin],
// w [cout][kh][kw][cin], y and residual [n][oh][ow][cout], bias [cout].
struct LibraryConvolution {
  DType type = DType::f32;
  bool tf32 = false;  // f32 factors are rounded to TF32, else multiplied in f32
  int64_t n = 1, h = 1, w = 1, cin = 1, oh = 1, ow = 1, cout = 1, kh = 1, kw = 1, groups = 1;
  std::array<int64_t, 2> strides{1, 1}, dilations{1, 1}, pads{0, 0}, end_pads{0, 0};
  bool has_bias = false, has_residual = false, relu = false;

  auto operator<=>(const LibraryConvolution&) const = default;  // NOLINT(modernize-use-nullptr): its own 0
};

// One of the library's ways to compute a convolution: an engine, the settings of its knobs (type, value), and what that
// takes. It means something to the version that gave it alone.
struct ConvolutionPlan {
  int64_t engine = 0;
  std::vector<std::array<int64_t, 2>> knobs = {};
  int64_t workspace_bytes = 0;
};
// "engine 41, knobs 2=5 14=3", in the library's numbers.
std::string describe(const ConvolutionPlan& plan);

// How many ways are taken of those that it may know. Each is timed.
inline constexpr int kMostConvolutionPlans = 6;
inline constexpr int64_t kMostConvolutionWorkspace = 64 << 20;

// Best guesses first, those that differ in more than settings before others. All add up in f32 and in the same order in
// each run, and none transforms its factors (Winograd, FFT) or rounds them to less than is allowed. Plans that the
// library has to compile are taken where there are no others, and only a few. They are asked for once in a process.
Result<std::vector<ConvolutionPlan>> cudnn_plans(const LibraryConvolution& convolution, int ordinal);

struct ConvolutionOperands {
  const void *x = nullptr, *w = nullptr, *bias = nullptr, *residual = nullptr;
  void* y = nullptr;
  void* workspace = nullptr;  // aligned to kLibraryAlign
};

// A plan made ready on one GPU. Immutable: any number of threads may launch it.
class CudnnKernel {
 public:
  // Code::unsupported: the library refuses the plan.
  static Result<std::shared_ptr<const CudnnKernel>> make(const LibraryConvolution& convolution,
                                                         const ConvolutionPlan& plan, int ordinal);
  virtual ~CudnnKernel() = default;
  // On the GPU that is current, which is the plan's.
  virtual Status launch(const ConvolutionOperands& operands, Stream& stream) const = 0;
};

}  // namespace hone::cuda
