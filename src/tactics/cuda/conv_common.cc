#include "ops/conv.h"
#include "ops/fused.h"

#include "tactics/cuda/conv.h"
#include "tactics/cuda/source.h"

namespace hone::cuda {
namespace {

ConvGeometry geometry(const Problem& problem, const AnchorView& anchor) {
  const Conv& conv = *anchor.op.as<Conv>();
  Dims x = dims_of(anchor.data), w = dims_of(problem.inputs[1]), y = dims_of(problem.outputs[0]);
  const bool flat = x.size() == 3;
  if (flat) {
    x.insert(x.begin() + 1, 1);
    w.insert(w.begin() + 2, 1);
    y.insert(y.begin() + 1, 1);
  }
  const auto first = [&](const std::vector<int64_t>& list, int64_t one) { return flat ? one : list[0]; };
  const auto second = [&](const std::vector<int64_t>& list) { return list[flat ? 0 : 1]; };
  return {x[0],
          x[1],
          x[2],
          x[3],
          y[1],
          y[2],
          w[0],
          w[2],
          w[3],
          first(conv.strides, 1),
          second(conv.strides),
          first(conv.dilations, 1),
          second(conv.dilations),
          first(conv.pads, 0),
          second(conv.pads),
          conv.groups,
          anchor.data.dtype};
}

}  // namespace

bool ConvGeometry::pointwise() const {
  return kh * kw == 1 && oh == h && ow == w && stride_h == 1 && stride_w == 1 && pad_top == 0 && pad_left == 0;
}

std::string ConvGeometry::defines() const {
  return fmt::format(
      "#define H {}\n#define W {}\n#define CIN {}\n#define OH {}\n#define OW {}\n#define COUT {}\n#define KH {}\n"
      "#define KW {}\n#define STRIDE_H {}\n#define STRIDE_W {}\n#define DILATION_H {}\n#define DILATION_W {}\n"
      "#define PAD_TOP {}\n#define PAD_LEFT {}\n",
      h, w, cin, oh, ow, cout, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left);
}

AnchorView conv_anchor(const Problem& problem) { return *view_anchor(problem, Conv::kName); }
ConvGeometry conv_geometry(const Problem& problem) { return geometry(problem, conv_anchor(problem)); }

WarpgroupProduct conv_product(const Problem& problem) {
  const ConvGeometry g = conv_geometry(problem);
  WarpgroupProduct product{.gemm = g.gemm(), .b_constant = true, .result = problem.outputs[0].dtype};
  if (!g.pointwise())
    product.patches = Patches{g.n,  g.h,        g.w,        g.cin,        g.oh,         g.ow,      g.kh,
                              g.kw, g.stride_h, g.stride_w, g.dilation_h, g.dilation_w, g.pad_top, g.pad_left};
  return product;
}

std::string conv_refusal(const Problem& problem, bool grouped) {
  const auto anchor = view_anchor(problem, Conv::kName);
  if (!anchor) return kAnotherOp;
  const Conv& conv = *anchor->op.as<Conv>();
  if (!problem.is_static()) return "shapes are not fixed";
  if (sum_type(anchor->data.dtype) == nullptr) return fmt::format("{} elements", name(anchor->data.dtype));
  if (problem.inputs[1].dtype != anchor->data.dtype) return "weights of another type";
  if (!conv.channels_last) return "activations are not channels-last";
  if (const int64_t rank = anchor->data.shape.rank(); rank != 3 && rank != 4) return "neither 1-D nor 2-D";
  if (!problem.constants.empty() && !problem.is_constant(1)) return "weights are not constant";
  if ((conv.groups > 1) != grouped) return grouped ? "one group" : "grouped";
  if (element_count(dims_of(problem.outputs[0])) == 0) return "empty";
  if (std::string reason = refuse_epilogue(problem); !reason.empty()) return reason;
  if (grouped) return anchor->prologue ? "its input is computed in place" : "";
  return refuse_gemm(geometry(problem, *anchor).gemm());
}

std::string wide_refusal(const Problem& problem) {
  if (std::string reason = conv_refusal(problem, false); !reason.empty()) return reason;
  const auto anchor = conv_anchor(problem);
  if (anchor.prologue) return "its input is computed in place";
  const int64_t bytes = geometry(problem, anchor).cin * static_cast<int64_t>(size_of(anchor.data.dtype));
  return bytes % 16 != 0 ? "a pixel's channels are not a multiple of 16 bytes" : "";
}

std::string wide_refusal(const Problem& problem, const Machine& machine) {
  std::string reason = wide_refusal(problem);
  return reason.empty() ? refuse_tf32(conv_anchor(problem).data.dtype, machine) : reason;
}

std::string refuse_gathered(const Problem& problem, const AnchorView& anchor, bool channels_last) {
  if (anchor.prologue) return "its input is computed in place";
  if (!channels_last && problem.op.as<Fused>() != nullptr) return "fused, and activations are not channels-last";
  for (const TensorType* t : {&problem.inputs[0], &problem.inputs[1], &problem.outputs[0]})
    if (const int64_t count = element_count(dims_of(*t)); count == 0 || count > INT32_MAX)
      return count == 0 ? "empty" : "2^31 elements or more";
  return refuse_epilogue(problem);
}

std::string conv_parameters(const Problem& problem, const AnchorView& anchor, bool packed) {
  const std::string w = fmt::format(", const {}* __restrict__ w", element_type(problem.inputs[1].dtype));
  return fmt::format("{}* __restrict__ y, const {}* __restrict__ x{}{}{}", element_type(problem.outputs[0].dtype),
                     element_type(problem.inputs[0].dtype), packed ? "" : w, anchor.parameters, packed ? w : "");
}

Source with_weights(Source source, Tensor packed) {
  source.drops = {false, true};
  source.packed = {std::move(packed)};
  return source;
}

std::string image_element(const AnchorView& anchor) {
  Dims strides = anchor.strides;
  if (strides.size() == 3) strides.insert(strides.begin() + 1, 0);
  return fmt::format("x[(i64)n * {} + (i64)h * {} + (i64)w_ * {} + (i64)c * {}]", strides[0], strides[1], strides[2],
                     strides[3]);
}

std::string image_value(const AnchorView& anchor) {
  return fmt::format("  const auto raw = {};\n{}", image_element(anchor), anchor.value);
}

std::vector<int64_t> outputs_last(const Tensor& weights) {
  return weights.rank() == 3 ? std::vector<int64_t>{2, 1, 0} : std::vector<int64_t>{2, 3, 1, 0};
}

std::vector<int64_t> outputs_first(const Tensor& weights) {
  return weights.rank() == 3 ? std::vector<int64_t>{0, 2, 1} : std::vector<int64_t>{0, 2, 3, 1};
}

TensorMapSpec image_map(const ConvGeometry& g, int64_t channels, int64_t columns, int64_t rows) {
  const auto u = [](int64_t v) { return static_cast<uint64_t>(v); };
  const auto box = [](int64_t v) { return static_cast<uint32_t>(v); };
  const int64_t pixel = g.cin * static_cast<int64_t>(size_of(g.type));
  return {.type = g.type,
          .dims = {u(g.cin), u(g.w), u(g.h), u(g.n)},
          .strides = {u(pixel), u(g.w * pixel), u(g.h * g.w * pixel)},
          .box = {box(channels), box(columns * g.stride_w), box(rows * g.stride_h), 1},
          .element_strides = {1, box(g.stride_w), box(g.stride_h), 1}};
}

TensorMapSpec filter_map(const ConvGeometry& g, int64_t channels, int64_t outputs) {
  const auto u = [](int64_t v) { return static_cast<uint64_t>(v); };
  const int64_t pixel = g.cin * static_cast<int64_t>(size_of(g.type));
  return {.type = g.type,
          .dims = {u(g.cin), u(g.kh * g.kw), u(g.cout)},
          .strides = {u(pixel), u(g.kh * g.kw * pixel)},
          .box = {static_cast<uint32_t>(channels), 1, static_cast<uint32_t>(outputs)},
          .element_strides = {1, 1, 1}};
}

}  // namespace hone::cuda
