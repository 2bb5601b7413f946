#include "import/onnx/importer.h"
#include "ops/conv.h"
#include "ops/linear_attention.h"
#include "ops/movement.h"

namespace hone::import_onnx {
namespace {

void import_linear_attention(NodeImport& n) {
  const std::string rule = n.s("update_rule", "gated_delta");
  const bool gated = rule == "gated" || rule == "gated_delta", delta = rule == "delta" || rule == "gated_delta";
  if (!gated && !delta && rule != "linear") return n.invalid("there is no update_rule '{}'", rule);
  if (n.has_input(4) != gated || n.has_input(5) != delta)
    return n.invalid("update_rule '{}' {} decay and {} beta", rule, gated ? "needs" : "has no",
                     delta ? "needs" : "has no");
  n.ignore({"chunk_size"});  // how to compute it, not what
  const LinearAttention op{.heads = n.i("q_num_heads"), .groups = n.i("kv_num_heads"), .scale = n.f("scale")};
  const auto results = n.add(op, n.inputs(), 2);
  for (size_t k = 0; k < results.size(); ++k) n.output(k, results[k]);
}

// A depthwise convolution over what came before and the input; the state is the end of both.
void import_causal_conv(NodeImport& n) {
  const ValueId x = n.input(0), w = n.input(1);
  const std::string activation = n.s("activation", "none");
  if (activation != "none" && activation != "silu" && activation != "swish")
    return n.invalid("there is no activation '{}'", activation);
  if (n.rank(x) != 3 || n.rank(w) != 3)
    n.invalid("the input is {}, the weights {}", to_text(n.type(x)), to_text(n.type(w)));
  if (n.failed()) return;
  const Dim channels = n.type(w).shape.dims[0], kernel = n.type(w).shape.dims[2];
  if (!channels.known() || !kernel.known())
    return n.unsupported("the weights' shape {} is not known", to_text(n.type(w)));
  const int64_t past = kernel.value - 1;
  if (past < 0 || channels.value < 1) return n.invalid("the weights are {}", to_text(n.type(w)));
  const ValueId all =
      n.has_input(3) ? n.add(Concat{.axis = 2}, {n.input(3), x}) : n.add(Pad{}, {x, n.ints({0, 0, past, 0, 0, 0})});
  std::vector<ValueId> inputs{all, w};
  if (n.has_input(2)) inputs.push_back(n.input(2));
  const ValueId y = n.add(Conv{.strides = {1}, .dilations = {1}, .pads = {0, 0}, .groups = channels.value}, inputs);
  n.output(0, activation == "none" ? y : n.pointwise(Fn::silu, {y}));
  n.output(1, n.add(Slice{}, {all, n.ints({past > 0 ? -past : INT64_MAX}), n.ints({INT64_MAX}), n.ints({2})}));
}

}  // namespace

std::span<const ImporterRow> recurrent_attention_importers() {
  static constexpr ImporterRow kRows[] = {{"LinearAttention", import_linear_attention, 27},
                                          {"CausalConvWithState", import_causal_conv, 27}};
  return kRows;
}

}  // namespace hone::import_onnx
