// A convolution and the maximum pooling behind it, strip by strip: what the convolution makes of a few rows stays in a
// core's cache, where pooling reads it.
#include <array>
#include <cstring>
#include <numeric>

#include "kernels/cpu/gemm/panel.h"
#include "tactics/conv_problem.h"
#include "tactics/in_bf16.h"
#include "tactics/pool_problem.h"
#include "tactics/pooled.h"

namespace hone {
namespace {

// Of the algorithms, the one that writes most for its work.
const cpu::ConvAlgorithm& algorithm() {
  static const cpu::ConvAlgorithm& found = *cpu::find_conv_algorithm("conv_winograd_f4");
  return found;
}

struct Layer {
  Anchor anchor;
  cpu::ConvProblem conv;
  cpu::PoolProblem pool;

  int64_t row() const { return conv.out_w() * conv.cout; }  // elements between the two
};

// Of a problem that is supported.
Layer layer_of(const Problem& problem) {
  const Pooled parts = without_pool(problem);
  Layer layer{.anchor = *view_anchor(parts.before)};
  layer.conv = conv_problem(parts.before, *layer.anchor.op.as<Conv>());
  layer.pool = pool_problem(*parts.pool, dims_of(parts.before.outputs[0]), dims_of(problem.outputs[0]));
  return layer;
}

std::string refuse_pool(const Pool& pool) {
  if (pool.kind != "max") return "pooling other than of maxima";
  if (!pool.channels_last || pool.kernel.size() != 2) return "pooling is not 2-D and channels-last";
  if (pool.dilations != std::vector<int64_t>{1, 1}) return "pooling is dilated";
  for (size_t i = 0; i < 4; ++i)
    if (pool.pads[i] >= pool.kernel[i % 2]) return "pooling pads by whole windows";
  return {};
}

std::string refuse_conv(const Problem& problem, const Anchor& anchor) {
  const auto& conv = *anchor.op.as<Conv>();
  if (!conv.channels_last || problem.inputs[0].shape.rank() != 4) return "a convolution is not 2-D and channels-last";
  if (conv.dilations != std::vector<int64_t>{1, 1}) return "a convolution is dilated";
  const Dims w = dims_of(problem.inputs[1]);
  for (size_t i = 0; i < 4; ++i)
    if (conv.pads[i] >= w[2 + i % 2]) return "a convolution pads by whole windows";
  if (anchor.residual >= 0) return "a residual is added between the two";
  if (!problem.constants.empty() && !problem.is_constant(1)) return "weights are not constant";
  return {};
}

// With fewer channels F(5x5), apart, is faster: see docs/performance.md.
constexpr int64_t kLeastChannels = 64;

// Why it would not be faster than the two apart, or empty.
std::string refuse_where_apart_is_as_fast(const Layer& layer, const Machine& machine) {
  if (machine.bf16) return "products of bf16 may be faster";
  const cpu::ConvProblem& conv = layer.conv;
  const int64_t l2 = cpu::cpu_info().l2, size = sizeof(float);
  if (conv.out_h() * layer.row() * size <= machine.threads * l2) return "an image between the two fits into L2";
  if (conv.kh * conv.kw * conv.cin * conv.cout * size > l2 / 4) return "weights fill L2";
  if (std::min(conv.cin, conv.cout) < kLeastChannels) return "few channels";
  return {};
}

std::string supports(const Problem& problem, const Machine& machine) {
  const Pooled parts = without_pool(problem);
  if (!parts.pool || problem.outputs.size() != 1) return kAnotherOp;
  const auto anchor = view_anchor(parts.before);
  if (!anchor || anchor->op.as<Conv>() == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  for (const Types* types : {&problem.inputs, &problem.outputs})
    for (const TensorType& t : *types)
      if (t.defined() && t.dtype != DType::f32) return fmt::format("{} elements", name(t.dtype));
  if (std::string reason = refuse_pool(*parts.pool); !reason.empty()) return reason;
  if (std::string reason = refuse_conv(parts.before, *anchor); !reason.empty()) return reason;
  if (element_count(dims_of(problem.outputs[0])) == 0) return "empty";
  const Layer layer = layer_of(problem);
  if (const char* reason = algorithm().supports(layer.conv)) return reason;
  if (problem.constants.empty()) return {};  // of an engine that is loaded: the rest was judged when it was built
  if (std::string reason = refuse_where_apart_is_as_fast(layer, machine); !reason.empty()) return reason;
  const double error = machine.winograd ? algorithm().error_bound(layer.conv, problem.constants[1].data<float>()) : 0;
  return refuse_error(error, kErrorBound, machine);
}

struct Rows {
  int64_t begin, end;

  int64_t count() const { return end - begin; }
};

// The convolution's rows of which rows `y` of maxima are made.
Rows rows_below(const cpu::PoolProblem& p, Rows y) {
  return {std::max<int64_t>(0, y.begin * p.stride[1] - p.pads_begin[1]),
          std::min(p.in[1], (y.end - 1) * p.stride[1] - p.pads_begin[1] + p.kernel[1])};
}

// A few rows of maxima, of one image. Offsets are in elements.
struct Strip {
  int64_t kept, kept_at;          // what of the strip before in the buffer is moved to its front
  bool computes;                  // whether more than that is needed
  cpu::ConvProblem conv;          // of the rows behind those
  cpu::PoolProblem pool;          // of all
  int64_t in_at = 0, out_at = 0;  // from the image's begin
};

cpu::ConvProblem conv_of_rows(const cpu::ConvProblem& image, Rows y, int64_t& first) {
  const int64_t begin = y.begin * image.stride_h - image.pad_top;
  const int64_t end = (y.end - 1) * image.stride_h - image.pad_top + image.kh;
  cpu::ConvProblem p = image;
  p.n = 1;
  p.pad_top = std::max<int64_t>(0, -begin);
  p.pad_bottom = std::max<int64_t>(0, end - image.h);
  first = begin + p.pad_top;
  p.h = end - p.pad_bottom - first;
  return p;
}

// Rows `all` of maxima in strips of `height`.
std::vector<Strip> strips_of(const Layer& layer, Rows all, int64_t height) {
  std::vector<Strip> strips;
  Rows held{0, 0};
  for (int64_t begin = all.begin; begin < all.end; begin += height) {
    const Rows y{begin, std::min(all.end, begin + height)}, needed = rows_below(layer.pool, y);
    const int64_t kept = std::clamp<int64_t>(held.end - needed.begin, 0, needed.count());
    const Rows fresh{needed.begin + kept, needed.end};
    Strip s{.kept = kept * layer.row(), .kept_at = (needed.begin - held.begin) * layer.row()};
    s.computes = fresh.count() > 0;
    if (s.computes) {
      int64_t first = 0;
      s.conv = conv_of_rows(layer.conv, fresh, first);
      s.in_at = first * layer.conv.w * layer.conv.cin;
    }
    s.pool = layer.pool;
    s.pool.batch = 1;
    s.pool.in[1] = needed.count();
    s.pool.out[1] = y.count();
    s.pool.pads_begin[1] = std::max<int64_t>(0, layer.pool.pads_begin[1] - y.begin * layer.pool.stride[1]);
    s.out_at = y.begin * layer.pool.out[2] * layer.pool.channels;
    strips.push_back(s);
    held = needed;
  }
  return strips;
}

// Neighbouring rows of an image, which one thread computes; as many of these parts an image as give threads equal
// numbers of them.
std::vector<std::vector<Strip>> parts_of(const Layer& layer, int64_t height, int threads) {
  const int64_t rows = layer.pool.out[1];
  const int64_t count = std::min<int64_t>(rows, threads / std::gcd<int64_t>(layer.conv.n, threads));
  std::vector<std::vector<Strip>> parts;
  for (int64_t i = 0; i < count; ++i)
    parts.push_back(strips_of(layer, {rows * i / count, rows * (i + 1) / count}, height));
  return parts;
}

// Rows of maxima a strip, by variant.
constexpr std::array kHeights = {4, 2, 8};

int variants(const Problem&, const Machine&) { return std::ssize(kHeights); }

// Blocks are small: beside them, the caches hold the rows between the two.
cpu::ConvVariant blocking(cpu::Tier tier) { return {.tile_block = 2 * cpu::panel_kernel(tier).mr}; }

Result<Prepared> prepare(const Problem& problem, int, const Machine& machine) {
  const Layer layer = layer_of(problem);
  const cpu::Tier tier = tier_of(machine);
  Tensor packed(DType::u8, {static_cast<int64_t>(algorithm().packed_bytes(layer.conv, tier))});
  algorithm().pack(layer.conv, tier, problem.constants[1].data<float>(), packed.mutable_raw());
  return packed_weights(packed, tier);
}

// What each thread has: the convolution's workspace, and the rows between the two behind it.
struct WorkerLayout {
  int64_t rows_at = 0, bytes = 0;
};

WorkerLayout worker_layout(const Layer& layer, const std::vector<std::vector<Strip>>& parts,
                           const cpu::ConvContext& context) {
  constexpr int64_t kLine = 64;
  WorkerLayout layout;
  int64_t rows = 0;
  for (const auto& part : parts)
    for (const Strip& s : part) {
      rows = std::max(rows, s.pool.in[1] * layer.row());
      if (s.computes)
        layout.rows_at = std::max(layout.rows_at, static_cast<int64_t>(algorithm().workspace_bytes(s.conv, context)));
    }
  layout.rows_at = (layout.rows_at + kLine - 1) / kLine * kLine;
  // A line more, so that the threads' areas do not start in one set of the cache.
  layout.bytes = layout.rows_at + (rows * static_cast<int64_t>(sizeof(float)) + 2 * kLine - 1) / kLine * kLine;
  return layout;
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int variant,
                                           const Machine& machine) {
  const Layer layer = layer_of(problem);
  HONE_TRY(const cpu::Tier tier,
           check_packed(packed, [&](cpu::Tier tier) { return algorithm().packed_bytes(layer.conv, tier); }));
  const cpu::ConvContext context{.tier = tier, .variant = blocking(tier)};
  const auto height = static_cast<size_t>(variant);
  if (height >= kHeights.size()) return invalid("there is no variant {}", variant);
  auto parts = parts_of(layer, kHeights[height], machine.threads);
  const WorkerLayout layout = worker_layout(layer, parts, context);
  return kernel(
      [layer, context, layout, parts = std::move(parts), weights = packed[0]](const KernelArgs& args) -> Status {
        const auto count = std::ssize(parts);
        const cpu::ConvProblem& c = layer.conv;
        const cpu::PoolProblem& p = layer.pool;
        const cpu::Epilogue epilogue = epilogue_of(layer.anchor, args);
        args.pool.parallel(c.n * count, [&](int64_t task, int worker) {
          const float* const in = args.inputs[0]->data<float>() + task / count * c.h * c.w * c.cin;
          float* const out = args.outputs[0]->mutable_data<float>() + task / count * p.out[1] * p.out[2] * p.channels;
          std::byte* const workspace = args.workspace + worker * layout.bytes;
          auto* const rows = reinterpret_cast<float*>(workspace + layout.rows_at);
          for (const Strip& s : parts[static_cast<size_t>(task % count)]) {
            std::memmove(rows, rows + s.kept_at, static_cast<size_t>(s.kept) * sizeof(float));
            if (s.computes)
              algorithm().run(s.conv, context,
                              {.in = in + s.in_at,
                               .packed = weights.raw(),
                               .out = rows + s.kept,
                               .epilogue = epilogue,
                               .workspace = workspace,
                               .pool = &cpu::one_thread()});
            cpu::pool(s.pool, context.tier, rows, out + s.out_at, cpu::one_thread());
          }
        });
        return {};
      },
      machine.threads* layout.bytes);
}

}  // namespace

std::span<const Tactic> conv_pool_tactics() {
  static constexpr Tactic kRows[] = {{.name = "cpu.conv_pool_winograd_f4",
                                      .supports = supports,
                                      .variants = variants,
                                      .prepare = prepare,
                                      .make = make,
                                      .drops = drops_second}};
  return kRows;
}

}  // namespace hone
