// Squeeze and excite as one kernel: see kernels/cuda/squeeze_excite.cuh.
#include "kernels/cuda/squeeze_excite.cuh.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/squeeze_excite_plain.cuh.h"
#include "ops/elements.h"
#include "ops/fused.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "tactics/cuda/channels.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

constexpr int64_t kThreads = 512, kMostHidden = 512, kMostChannels = 2048;
constexpr int64_t kSplits[] = {8, 4, 2};

// The problem's body seen as its parts.
struct SqueezeExcite {
  Problem first, second;
  const PointwiseProgram& scale;
  size_t scaled;  // which input of the program is the image
  int64_t images, pixels, channels, hidden;

  DType type() const { return first.inputs[0].dtype; }
};

bool is_mean_of_pixels(const Problem& mean) {
  const auto* reduce = mean.op.as<Reduce>();
  if (reduce == nullptr || reduce->kind != "mean" || !reduce->keep_dims || mean.inputs.size() != 2) return false;
  const Dims x = dims_of(mean.inputs[0]), y = dims_of(mean.outputs[0]);
  return x.size() == 4 && y == Dims{x[0], 1, 1, x[3]};
}

std::optional<SqueezeExcite> view(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr || !problem.is_static()) return std::nullopt;
  const Graph& body = *fused->body;
  const auto order = body.order();
  if (order.size() != 4) return std::nullopt;
  const auto reads = [&](size_t k, size_t input) { return body.node(order[k]).inputs[input]; };
  const auto makes = [&](size_t k) { return body.node(order[k]).outputs[0]; };
  const auto* scale = body.node(order[3]).op.as<Pointwise>();
  if (scale == nullptr || body.node(order[3]).inputs.size() != 2 || body.node(order[0]).op.as<Reduce>() == nullptr)
    return std::nullopt;
  const ValueId x = reads(0, 0);
  const size_t scaled = reads(3, 0) == x ? 0 : 1;
  if (x != body.inputs()[0] || reads(1, 0) != makes(0) || reads(2, 0) != makes(1) || reads(3, scaled) != x ||
      reads(3, 1 - scaled) != makes(2))
    return std::nullopt;
  const Problem mean = cuda::layer_of(problem, body, order[0]);
  if (!is_mean_of_pixels(mean)) return std::nullopt;
  const Dims image = dims_of(mean.inputs[0]);
  SqueezeExcite view{cuda::layer_of(problem, body, order[1]),
                     cuda::layer_of(problem, body, order[2]),
                     scale->program,
                     scaled,
                     image[0],
                     image[1] * image[2],
                     image[3],
                     0};
  view.hidden = view.first.outputs[0].shape.rank() == 4 ? dims_of(view.first.outputs[0])[3] : 0;
  return view;
}

std::string refuse_layer(const Problem& layer, DType type, int64_t out) {
  if (std::string reason = cuda::conv_refusal(layer, false); !reason.empty())
    return reason == kAnotherOp ? "a layer is no convolution" : reason;
  if (cuda::conv_anchor(layer).prologue || !cuda::conv_geometry(layer).pointwise()) return "a layer of other than 1x1";
  if (layer.inputs[0].dtype != type || layer.outputs[0].dtype != type) return "not of one type throughout";
  if (cuda::conv_geometry(layer).cout != out) return "it scales other channels than it reads";
  if (cuda::added_to(layer)) return "an epilogue that reads more than a value a channel";
  return cuda::refuse_columns(layer);
}

std::string plain_supports(const Problem& problem) {
  const auto view_of = view(problem);
  if (!view_of) return kAnotherOp;
  const SqueezeExcite& v = *view_of;
  if (!cuda::is_real_element(v.type()) || problem.inputs[0].dtype != v.type() || problem.outputs[0].dtype != v.type() ||
      problem.outputs[0].shape != problem.inputs[0].shape)
    return "not fp32, fp16 or bf16 throughout";
  if (std::string reason = refuse_layer(v.first, v.type(), v.hidden); !reason.empty()) return reason;
  if (std::string reason = refuse_layer(v.second, v.type(), v.channels); !reason.empty()) return reason;
  if (std::string reason = cuda::refuse_program(v.scale); !reason.empty()) return reason;
  const int64_t run = 16 / static_cast<int64_t>(size_of(v.type()));
  if (v.channels % run != 0) return "a pixel's channels are not a multiple of 16 bytes";
  if (v.channels > std::min(kMostChannels, kThreads * run) || v.hidden > kMostHidden)
    return fmt::format("more than {} channels, or {} between the layers", kMostChannels, kMostHidden);
  return v.images == 0 || v.pixels == 0 ? "empty" : v.pixels > INT32_MAX / 8 ? "images of 2^28 pixels" : "";
}

std::string supports(const Problem& problem, const Machine& machine) {
  std::string reason = plain_supports(problem);
  if (!reason.empty() || cuda::has_clusters(machine.cuda_arch)) return reason;
  return "it needs clusters of blocks, of compute capability 9.0";
}

int variants(const Problem&, const Machine&) { return static_cast<int>(std::size(kSplits)); }

int64_t columns_of(const SqueezeExcite& v) {
  return static_cast<int64_t>(
      std::max({cuda::columns_of(v.first).size(), cuda::columns_of(v.second).size(), size_t{1}}));
}

// Each row begun with 16 bytes.
Tensor rows_of(const Problem& layer, int64_t run) {
  const Tensor& weights = layer.constants[1];
  const Tensor from = cuda::permuted(weights, cuda::outputs_first(weights));
  const int64_t out = from.dims()[0], in = from.count() / out, row = cuda::blocks(in, run) * run;
  const auto bytes = static_cast<int64_t>(size_of(from.type()));
  Tensor rows(from.type(), {out, row});
  std::memset(rows.mutable_data<std::byte>(), 0, rows.bytes());
  for (int64_t o = 0; o < out; ++o)
    std::memcpy(rows.mutable_data<std::byte>() + o * row * bytes, from.data<std::byte>() + o * in * bytes,
                static_cast<size_t>(in * bytes));
  return rows;
}

// `split`: blocks that share an image, 1 for the plain kernel.
cuda::Source source_for(const Problem& problem, int64_t split, const std::string& kernel) {
  const SqueezeExcite v = *view(problem);
  const char* type = cuda::element_type(v.type());
  const int64_t run = 16 / static_cast<int64_t>(size_of(v.type())), columns = columns_of(v);
  Tensor of_layers(DType::f32, {columns * (v.hidden + v.channels)});
  auto* to = of_layers.mutable_data<std::byte>();
  std::memset(to, 0, of_layers.bytes());
  cuda::pack_columns(v.first, static_cast<size_t>(columns), 0, v.hidden, to);
  cuda::pack_columns(v.second, static_cast<size_t>(columns), 0, v.channels, to);
  const std::vector<std::string> operands =
      v.scaled == 0 ? std::vector<std::string>{"v", "gate"} : std::vector<std::string>{"gate", "v"};
  cuda::Source source{
      .text = fmt::format("#define RUN {}\n#define PIXELS {}\n#define CHANNELS {}\n#define HIDDEN {}\n"
                          "#define HIDDEN_ROW {}\n#define SPLIT {}\n#define THREADS {}\n#define COLUMNS {}\ntypedef {} "
                          "T;\ntypedef float Sum;\n",
                          run, v.pixels, v.channels, v.hidden, cuda::blocks(v.hidden, run) * run, split, kThreads,
                          columns, type) +
              cuda::result_function("first", v.first) + cuda::result_function("second", v.second) +
              fmt::format("__device__ inline float scaled(float v, float gate) {{\n{}  return v{};\n}}\n",
                          cuda::statements(v.scale, operands), v.scale.code.size() - 1) +
              kernel,
      .drops = std::vector<bool>(problem.inputs.size(), true),
      .packed = {rows_of(v.first, run), rows_of(v.second, run), std::move(of_layers)}};
  source.drops[0] = false;
  return source;
}

Result<cuda::Source> source(const Problem& problem, int variant) {
  return source_for(problem, kSplits[variant], kernels::squeeze_excite_cuh);
}

cuda::Launch launch(const Problem& problem, int variant) {
  const auto split = static_cast<unsigned>(kSplits[variant]);
  return {.grid = {static_cast<unsigned>(view(problem)->images) * split},
          .block = {static_cast<unsigned>(kThreads)},
          .cluster = split};
}

Result<cuda::Source> plain_source(const Problem& problem) {
  return source_for(problem, 1, kernels::squeeze_excite_plain_cuh);
}

cuda::Launch plain_launch(const Problem& problem) {
  return {.grid = {static_cast<unsigned>(view(problem)->images)}, .block = {static_cast<unsigned>(kThreads)}};
}

}  // namespace

std::span<const Tactic> cuda_squeeze_excite_tactics() {
  static constexpr Tactic kRows[] = {
      cuda::row<supports, source, launch, variants>("cuda.squeeze_excite"),
      cuda::row<plain_supports, plain_source, plain_launch>("cuda.squeeze_excite_plain", 1)};
  return kRows;
}

}  // namespace hone
