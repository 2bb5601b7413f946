// The first convolution of an image network, with the maximum pooling behind it: see kernels/cuda/stem.cuh.
#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/cuda/stem.cuh.h"
#include "tactics/cuda/conv.h"
#include "tactics/cuda/source.h"
#include "tactics/cuda/wgmma.h"
#include "tactics/pooled.h"

namespace hone {
namespace {

bool takes(const Pool& pool) {
  const std::vector<int64_t> two = {2, 2}, one = {1, 1};
  return pool.kind == "max" && pool.channels_last && pool.kernel == std::vector<int64_t>{3, 3} && pool.strides == two &&
         pool.dilations == one && std::equal(one.begin(), one.end(), pool.pads.begin());
}

std::string supports(const Problem& problem, const Machine& machine) {
  if (problem.outputs.size() != 1 || !problem.is_static()) return "more than one result, or open shapes";
  const Pooled stem = without_pool(problem);
  if (std::string reason = cuda::conv_refusal(stem.before, false); !reason.empty()) return reason;
  if (std::string reason = cuda::refuse_other_than_hopper(machine); !reason.empty()) return reason;
  if (stem.pool && !takes(*stem.pool)) return "pooling other than the maximum of 3 x 3, in steps of 2";
  const auto anchor = cuda::conv_anchor(stem.before);
  const cuda::ConvGeometry g = cuda::conv_geometry(stem.before);
  if (g.type == DType::f32 || g.type == DType::f8e4m3fn) return fmt::format("{} elements", name(g.type));
  if (g.cin > 4 || g.stride_w != 2 || g.stride_h > 2 || g.kw > 8 || g.kh > 8)
    return "more than 4 channels, steps other than 2, or a filter larger than 8";
  if (g.dilation_h != 1 || g.dilation_w != 1) return "dilated";
  if (g.cout % 16 != 0 || g.cout > 64) return "its results' channels are not 16, 32, 48 or 64";
  if (g.n > 65535) return "too many images";
  const auto& inputs = stem.before.inputs;
  for (size_t i = anchor.inputs; i < inputs.size(); ++i)
    if (const int64_t count = element_count(dims_of(inputs[i])); count != 1 && count != g.cout)
      return "its epilogue reads more than a value a channel";
  return {};
}

// Steps of y: rows of maxima, or pairs of rows.
int64_t steps_of(const Problem& problem, bool pooled) {
  const Dims y = dims_of(problem.outputs[0]);
  return pooled ? y[1] : cuda::blocks(y.size() == 3 ? 1 : y[1], 2);
}

// What a block takes: more steps save what blocks repeat, fewer, and fewer columns, occupy a GPU that has little to do.
struct Share {
  int64_t steps, warps;

  int64_t columns(bool pooled) const { return (pooled ? 7 : 16) * warps; }
};

std::vector<Share> candidates(const Problem& problem) {
  const bool pooled = without_pool(problem).pool.has_value();
  const Dims y = dims_of(problem.outputs[0]);
  const int64_t steps = steps_of(problem, pooled);
  std::vector<Share> all;
  for (const Share share : {Share{1, 4}, {1, 8}, {2, 8}, {4, 8}, {8, 8}, {14, 8}, {28, 8}, {56, 8}}) {
    const int64_t count =
        y[0] * cuda::blocks(y[y.size() - 2], share.columns(pooled)) * cuda::blocks(steps, share.steps);
    const bool least = share.steps == 1 && share.warps == 4;
    if ((least || (share.steps <= steps && count >= cuda::kMultiprocessors / 2)) &&
        count <= 16 * cuda::kMultiprocessors)
      all.push_back(share);
  }
  return all.empty() ? std::vector<Share>{{std::min<int64_t>(steps, 56), 8}} : all;
}

int variants(const Problem& problem, const Machine&) { return static_cast<int>(candidates(problem).size()); }

struct Layout {
  int64_t ring;  // rows of the image
  int64_t weight_bytes, shared_bytes;
};

Layout layout_of(const cuda::ConvGeometry& g, bool pooled, DType result, int64_t warps) {
  const auto size = static_cast<int64_t>(size_of(g.type)), result_size = static_cast<int64_t>(size_of(result));
  const int64_t pairs = cuda::blocks(g.kw, 2), groups = cuda::blocks(g.kh * pairs, 4);
  const int64_t across = pooled ? 2 * (warps * 7 + 1) : 16 * warps;
  const int64_t image_w = 2 * (across - 1) + 2 * pairs,
                ring = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(g.kh + 3 * g.stride_h)));
  const int64_t weights = groups * size * g.cout * 32, image = cuda::blocks(ring * image_w * 4 * size, 16) * 16;
  return {ring, weights, weights + image + warps * 16 * (g.cout + 16 / result_size) * result_size};
}

// To [group][step][half of 32 bytes][8 channels of the result][those][16 bytes], in the order in which lanes hold A.
Tensor packed_weights(const Tensor& weights, const cuda::ConvGeometry& g, const Layout& layout) {
  const Tensor from = cuda::permuted(weights, cuda::outputs_first(weights));
  Tensor packed(weights.type(), {layout.weight_bytes / static_cast<int64_t>(size_of(g.type))});
  const auto size = static_cast<int64_t>(size_of(g.type)), pairs = cuda::blocks(g.kw, 2), half = 16 / size;
  for (int64_t o = 0; o < g.cout; ++o)
    for (int64_t r = 0; r < g.kh; ++r)
      for (int64_t s = 0; s < g.kw; ++s)
        for (int64_t c = 0; c < g.cin; ++c) {
          const int64_t pair = r * pairs + s / 2, group = pair / 4, quad = pair % 4;
          // 16-bit types take the two pixels of a pair in two steps, two channels a half; bytes in the two halves.
          const int64_t step = size == 2 ? s % 2 : 0, which = size == 2 ? c / 2 : s % 2;
          const int64_t element = size == 2 ? quad * 2 + c % 2 : quad * 4 + c;
          const int64_t row = ((group * size + step) * 2 + which) * (g.cout / 8) + o / 8;
          std::memcpy(packed.mutable_data<std::byte>() + ((row * 8 + o % 8) * half + element) * size,
                      from.data<std::byte>() + (((o * g.kh + r) * g.kw + s) * g.cin + c) * size,
                      static_cast<size_t>(size));
        }
  return packed;
}

Result<cuda::Source> source(const Problem& problem, int variant) {
  const Pooled stem = without_pool(problem);
  const Problem& convolution = stem.before;
  const auto anchor = cuda::conv_anchor(convolution);
  const cuda::ConvGeometry g = cuda::conv_geometry(convolution);
  const DType result = problem.outputs[0].dtype;
  const Dims y = dims_of(problem.outputs[0]);
  const Share share = candidates(problem)[static_cast<size_t>(variant)];
  const Layout layout = layout_of(g, stem.pool.has_value(), result, share.warps);
  const bool rising = cuda::rises_with_sum(convolution);
  const std::string parameters = cuda::conv_parameters(convolution, anchor);
  const std::string text = fmt::format(
      "{}#define N {}\n#define RUN 2\n#define POOL {}\n#define RING {}\n#define RISING {}\n#define LOWEST {}\n"
      "#define ROWS {}\n#define COLUMNS {}\n#define WARPS {}\n"
      "typedef {} X;\ntypedef {} T;\ntypedef {} A;\ntypedef {} Sum;\n{}"
      "__device__ inline X raw_at(const X* x, int n, int h, int w_, int c) {{ return {}; }}\n"
      "__device__ inline A element_of(X raw) {{\n{}  return (A)value;\n}}\n",
      cuda::define_parameters(parameters + cuda::kRows + ", int steps"), g.cout, stem.pool ? 1 : 0, layout.ring,
      rising ? 1 : 0, (rising ? g.type : result) == DType::i8 ? "(-2147483647 - 1)" : "-INF", y.size() == 3 ? 1 : y[1],
      y[y.size() - 2], share.warps, cuda::element_type(problem.inputs[0].dtype), cuda::element_type(result),
      cuda::element_type(g.type), cuda::sum_type(g.type), g.defines(), cuda::image_element(anchor), anchor.value);
  cuda::Source source{.text = text + cuda::wgmma_multiply(g.type, static_cast<int>(g.cout), {.a_in_registers = true}) +
                              anchor.store + kernels::stem_cuh,
                      .arch_specific = true};
  return cuda::with_weights(std::move(source), packed_weights(problem.constants[1], g, layout));
}

cuda::Launch launch(const Problem& problem, int variant) {
  const Pooled stem = without_pool(problem);
  const bool pooled = stem.pool.has_value();
  const Dims y = dims_of(problem.outputs[0]);
  const Share share = candidates(problem)[static_cast<size_t>(variant)];
  const auto layout = layout_of(cuda::conv_geometry(stem.before), pooled, problem.outputs[0].dtype, share.warps);
  return {.grid = {static_cast<unsigned>(cuda::blocks(y[y.size() - 2], share.columns(pooled))),
                   static_cast<unsigned>(cuda::blocks(steps_of(problem, pooled), share.steps)),
                   static_cast<unsigned>(y[0])},
          .block = {static_cast<unsigned>(32 * share.warps)},
          .shared_bytes = static_cast<unsigned>(layout.shared_bytes),
          .extents = {static_cast<int>(cuda::conv_geometry(stem.before).gemm().m), static_cast<int>(share.steps)}};
}

}  // namespace

std::span<const Tactic> cuda_stem_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch, variants>("cuda.conv_stem_wgmma")};
  return kRows;
}

}  // namespace hone
