// A convolution and the depthwise one behind it, strip by strip.
#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "ir/graph.h"
#include "ops/fused.h"
#include "ops/pointwise.h"
#include "tactics/anchor.h"
#include "tactics/conv_problem.h"
#include "tactics/strips.h"

namespace hone {
namespace {

// A convolution of a fused body with the elementwise work behind it, as a problem of its own.
struct Part {
  Problem problem;
  std::vector<int> from;  // which input of the whole each of its inputs is, or -1
};

struct Pair {
  Part first, second;  // the second's first input is the first's result
};

Part part_of(const Problem& whole, const Graph& body, std::span<const NodeId> nodes) {
  const Node& conv = body.node(nodes.front());
  std::vector<ValueId> inputs = conv.inputs;
  for (NodeId id : nodes.subspan(1))
    for (ValueId v : body.node(id).inputs)
      if (v != conv.outputs[0]) inputs.push_back(v);
  Part part;
  for (ValueId v : inputs) {
    const auto at = std::ranges::find(body.inputs(), v);
    const bool given = at != body.inputs().end();
    part.from.push_back(given ? static_cast<int>(at - body.inputs().begin()) : -1);
    part.problem.inputs.push_back(v == ValueId::none ? TensorType() : body.type(v));
    const auto i = static_cast<size_t>(part.from.back());
    part.problem.constants.push_back(given && i < whole.constants.size() ? whole.constants[i] : Tensor());
  }
  part.problem.outputs = {body.type(body.node(nodes.back()).outputs[0])};
  if (nodes.size() == 1) {
    part.problem.op = conv.op;
    return part;
  }
  auto fused = std::make_shared<Graph>();
  std::map<ValueId, ValueId> made;
  for (ValueId v : inputs)
    if (v != ValueId::none && !made.contains(v)) made[v] = fused->add_input({}, body.type(v));
  for (NodeId id : nodes) {
    std::vector<ValueId> reads = body.node(id).inputs;
    for (ValueId& v : reads)
      if (v != ValueId::none) v = made.at(v);
    const ValueId result = body.node(id).outputs[0];
    const NodeId node = fused->add_node_typed(body.node(id).op, std::move(reads), {body.type(result)});
    made[result] = fused->node(node).outputs[0];
  }
  fused->add_output(made.at(body.node(nodes.back()).outputs[0]), "y");
  part.problem.op = Fused{std::move(fused)};
  return part;
}

// The inputs that are weights: of x, weights, bias, weights, bias.
constexpr int kWeights = 1, kDepthwiseWeights = 3;

// Nothing when the problem is no chain of two convolutions with biases, without a residual.
std::optional<Pair> pair_of(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) return std::nullopt;
  const Graph& body = *fused->body;
  const std::vector<NodeId> order = body.order();
  const auto is_conv = [&](NodeId id) { return body.node(id).op.as<Conv>() != nullptr; };
  if (order.empty() || !is_conv(order[0]) || std::ranges::count_if(order, is_conv) != 2) return std::nullopt;
  const auto second = static_cast<size_t>(std::find_if(order.begin() + 1, order.end(), is_conv) - order.begin());
  if (second > 2 || order.size() - second > 2) return std::nullopt;
  const std::span<const NodeId> nodes(order);
  const ValueId between = body.node(order[second - 1]).outputs[0];
  if (body.node(order[second]).inputs[0] != between || body.value(between).users.size() != 1) return std::nullopt;
  Pair pair{part_of(problem, body, nodes.first(second)), part_of(problem, body, nodes.subspan(second))};
  if (pair.first.from != std::vector{0, kWeights, 2} || pair.second.from != std::vector{-1, kDepthwiseWeights, 4})
    return std::nullopt;
  return pair;
}

struct Layer {
  Anchor anchor;
  cpu::ConvProblem conv;
  std::vector<int> from;
};

std::optional<Layer> layer_of(const Part& part) {
  const auto anchor = view_anchor(part.problem);
  const auto* conv = anchor ? anchor->op.as<Conv>() : nullptr;
  if (conv == nullptr || part.problem.inputs[0].shape.rank() != 4 || !conv->channels_last) return std::nullopt;
  return Layer{*anchor, conv_problem(part.problem, *conv), part.from};
}

struct Layers {
  Layer dense, depthwise;

  const cpu::ConvAlgorithm& algorithm() const {
    const char* name = dense.conv.kh * dense.conv.kw == 1 ? "conv_1x1" : "conv_direct";
    return *cpu::find_conv_algorithm(name);
  }
};

const cpu::ConvAlgorithm& depthwise_algorithm() {
  static const cpu::ConvAlgorithm& found = *cpu::find_conv_algorithm("conv_depthwise");
  return found;
}

std::optional<Layers> layers_of(const Problem& problem) {
  const auto pair = pair_of(problem);
  if (!pair) return std::nullopt;
  const auto dense = layer_of(pair->first), depthwise = layer_of(pair->second);
  if (!dense || !depthwise) return std::nullopt;
  return Layers{*dense, *depthwise};
}

std::string refuse_layers(const Layers& layers) {
  const auto& [dense, depthwise] = layers;
  if (depthwise_algorithm().supports(depthwise.conv) != nullptr || depthwise.conv.groups == 1)
    return "the second convolution is not depthwise";
  if (layers.algorithm().supports(dense.conv) != nullptr) return "the first convolution is grouped or padded";
  for (const Layer* layer : {&dense, &depthwise}) {
    const cpu::ConvProblem& p = layer->conv;
    if (p.dilation_h != 1) return "a convolution is dilated";
    if (p.pad_top >= p.kh || p.pad_bottom >= p.kh) return "a convolution pads by whole windows";
  }
  return {};
}

std::string supports(const Problem& problem, const Machine& machine) {
  if (problem.op.as<Fused>() == nullptr || !problem.is_static()) return kAnotherOp;
  for (const Types* types : {&problem.inputs, &problem.outputs})
    for (const TensorType& t : *types)
      if (t.defined() && t.dtype != DType::f32) return kAnotherOp;
  const auto layers = layers_of(problem);
  if (!layers) return kAnotherOp;
  if (element_count(dims_of(problem.outputs[0])) == 0) return "empty";
  if (std::string reason = refuse_layers(*layers); !reason.empty()) return reason;
  if (problem.constants.empty()) return {};  // of an engine that is loaded: the rest was judged when it was built
  if (!problem.is_constant(kWeights) || !problem.is_constant(kDepthwiseWeights)) return "weights are not constant";
  if (machine.bf16) return "products of bf16 may be faster";
  // Smaller ones gain nothing: see docs/performance-cpu.md.
  const cpu::ConvProblem& between = layers->depthwise.conv;
  const int64_t image = between.h * between.w * between.cin * static_cast<int64_t>(sizeof(float));
  if (4 * image <= 3 * cpu::cpu_info().l2 * machine.threads) return "an image between the two is small beside L2";
  return {};
}

// Rows of the result a strip, by variant.
constexpr std::array kHeights = {4, 2, 8};

int variants(const Problem&, const Machine&) { return std::ssize(kHeights); }

// Both layers' weights behind each other.
struct Packing {
  int64_t depthwise_at, bytes;
};

Packing packing_of(const Layers& layers, cpu::Tier tier) {
  constexpr int64_t kLine = 64;
  const auto dense = static_cast<int64_t>(layers.algorithm().packed_bytes(layers.dense.conv, tier));
  const auto depthwise = static_cast<int64_t>(depthwise_algorithm().packed_bytes(layers.depthwise.conv, tier));
  const int64_t at = (dense + kLine - 1) / kLine * kLine;
  return {at, at + depthwise};
}

Result<Prepared> prepare(const Problem& problem, int, const Machine& machine) {
  const Layers layers = *layers_of(problem);
  const cpu::Tier tier = tier_of(machine);
  const Packing packing = packing_of(layers, tier);
  Tensor packed(DType::u8, {packing.bytes});
  auto* const bytes = static_cast<std::byte*>(packed.mutable_raw());
  layers.algorithm().pack(layers.dense.conv, tier, problem.constants[kWeights].data<float>(), bytes);
  depthwise_algorithm().pack(layers.depthwise.conv, tier, problem.constants[kDepthwiseWeights].data<float>(),
                             bytes + packing.depthwise_at);
  Prepared prepared = packed_weights(packed, tier);
  prepared.drops = {false, true, false, true};
  return prepared;
}

bool drops(size_t input, std::span<const Tensor>) { return input == kWeights || input == kDepthwiseWeights; }

// The epilogue of one of the layers.
cpu::Epilogue epilogue_of_layer(const Layer& layer, const KernelArgs& args) {
  static const Tensor between;
  std::vector<const Tensor*> inputs;
  for (int i : layer.from) inputs.push_back(i < 0 ? &between : args.inputs[static_cast<size_t>(i)]);
  return epilogue_of(layer.anchor, {inputs, args.outputs, args.workspace, args.pool});
}

// Of the rows of a strip.
cpu::ConvProblem conv_of(cpu::ConvProblem image, const Strip& strip) {
  const int64_t end = strip.result.end;
  image.pad_bottom = std::max<int64_t>(0, (end - 1) * image.stride_h - image.pad_top + image.kh - image.h);
  image.n = 1;
  image.pad_top = strip.pad;
  image.h = strip.needed.count();
  return image;
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int variant,
                                           const Machine& machine) {
  const Layers layers = *layers_of(problem);
  HONE_TRY(const cpu::Tier tier, check_packed(packed, [&](cpu::Tier t) { return packing_of(layers, t).bytes; }));
  const auto height = static_cast<size_t>(variant);
  if (height >= kHeights.size()) return invalid("there is no variant {}", variant);
  const cpu::ConvProblem& p = layers.depthwise.conv;
  const RowWindows windows{.in = p.h, .out = p.out_h(), .kernel = p.kh, .stride = p.stride_h, .pad = p.pad_top};
  Strips strips =
      strips_of(layers.algorithm(), layers.dense.conv, {.tier = tier}, windows, kHeights[height], machine.threads);
  const int64_t workspace = machine.threads * strips.worker_bytes;
  const int64_t depthwise_at = packing_of(layers, tier).depthwise_at;
  return kernel(
      [layers, strips = std::move(strips), weights = packed[0], depthwise_at](const KernelArgs& args) -> Status {
        const cpu::ConvProblem& q = layers.depthwise.conv;
        const auto* const bytes = static_cast<const std::byte*>(weights.raw());
        const int64_t row = q.out_w() * q.cout, rows_out = q.out_h();
        auto* const out = args.outputs[0]->mutable_data<float>();
        const cpu::Epilogue epilogue = epilogue_of_layer(layers.depthwise, args);
        const cpu::ConvArgs call{
            .in = args.inputs[0]->raw(), .packed = bytes, .epilogue = epilogue_of_layer(layers.dense, args)};
        strips.run(call, args.workspace, args.pool, [&](int64_t image, const Strip& strip, const float* rows) {
          depthwise_algorithm().run(conv_of(q, strip), strips.context,
                                    {.in = rows,
                                     .packed = bytes + depthwise_at,
                                     .out = out + (image * rows_out + strip.result.begin) * row,
                                     .epilogue = epilogue,
                                     .pool = &cpu::one_thread()});
        });
        return {};
      },
      workspace);
}

}  // namespace

std::span<const Tactic> conv_depthwise_tactics() {
  static constexpr Tactic kRows[] = {{.name = "cpu.conv_depthwise_strips",
                                      .supports = supports,
                                      .variants = variants,
                                      .prepare = prepare,
                                      .make = make,
                                      .drops = drops}};
  return kRows;
}

}  // namespace hone
