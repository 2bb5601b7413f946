// A convolution and the maximum pooling behind it, strip by strip.
#include <array>

#include "kernels/cpu/gemm/panel.h"
#include "tactics/conv_problem.h"
#include "tactics/in_bf16.h"
#include "tactics/pool_problem.h"
#include "tactics/pooled.h"
#include "tactics/strips.h"

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

// With fewer channels F(5x5), apart, is faster: see docs/performance-cpu.md.
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

RowWindows windows_of(const cpu::PoolProblem& p) {
  return {.in = p.in[1], .out = p.out[1], .kernel = p.kernel[1], .stride = p.stride[1], .pad = p.pads_begin[1]};
}

// Of the rows of a strip.
cpu::PoolProblem pool_of(cpu::PoolProblem image, const Strip& strip) {
  image.batch = 1;
  image.in[1] = strip.needed.count();
  image.out[1] = strip.result.count();
  image.pads_begin[1] = strip.pad;
  return image;
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int variant,
                                           const Machine& machine) {
  const Layer layer = layer_of(problem);
  HONE_TRY(const cpu::Tier tier,
           check_packed(packed, [&](cpu::Tier tier) { return algorithm().packed_bytes(layer.conv, tier); }));
  const cpu::ConvContext context{.tier = tier, .variant = blocking(tier)};
  const auto height = static_cast<size_t>(variant);
  if (height >= kHeights.size()) return invalid("there is no variant {}", variant);
  Strips strips =
      strips_of(algorithm(), layer.conv, context, windows_of(layer.pool), kHeights[height], machine.threads);
  const int64_t workspace = machine.threads * strips.worker_bytes;
  return kernel(
      [layer, strips = std::move(strips), weights = packed[0]](const KernelArgs& args) -> Status {
        const cpu::PoolProblem& p = layer.pool;
        const int64_t row = p.out[2] * p.channels;
        auto* const out = args.outputs[0]->mutable_data<float>();
        const cpu::ConvArgs call{
            .in = args.inputs[0]->raw(), .packed = weights.raw(), .epilogue = epilogue_of(layer.anchor, args)};
        strips.run(call, args.workspace, args.pool, [&](int64_t image, const Strip& strip, const float* rows) {
          cpu::pool(pool_of(p, strip), strips.context.tier, rows, out + (image * p.out[1] + strip.result.begin) * row,
                    cpu::one_thread());
        });
        return {};
      },
      workspace);
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
