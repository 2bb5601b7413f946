#include "tactics/cuda/channels.h"

#include <algorithm>
#include <cstring>

#include "ops/fused.h"
#include "ops/pointwise.h"
#include "tactics/cuda/source.h"

namespace hone::cuda {
namespace {

size_t own_inputs(const Problem& layer) { return conv_anchor(layer).inputs; }

bool is_added(const Problem& layer, size_t input) {
  return input >= own_inputs(layer) && dims_of(layer.inputs[input]) == dims_of(layer.outputs[0]);
}

}  // namespace

Problem layer_of(const Problem& problem, const hone::Graph& body, NodeId id) {
  const Node& node = body.node(id);
  Problem layer{.op = node.op, .outputs = {body.type(node.outputs[0])}};
  for (ValueId v : node.inputs) {
    layer.inputs.push_back(body.type(v));
    const auto at = std::find(body.inputs().begin(), body.inputs().end(), v) - body.inputs().begin();
    const bool known = static_cast<size_t>(at) < problem.constants.size();
    if (!problem.constants.empty())
      layer.constants.push_back(known ? problem.constants[static_cast<size_t>(at)] : Tensor());
  }
  return layer;
}

std::vector<size_t> columns_of(const Problem& layer) {
  std::vector<size_t> columns;
  for (size_t i = 2; i < layer.inputs.size(); ++i)
    if (has(layer, i) && !is_added(layer, i)) columns.push_back(i);
  return columns;
}

std::optional<size_t> added_to(const Problem& layer) {
  for (size_t i = own_inputs(layer); i < layer.inputs.size(); ++i)
    if (is_added(layer, i)) return i;
  return std::nullopt;
}

std::string refuse_columns(const Problem& layer) {
  const int64_t channels = conv_geometry(layer).cout;
  size_t added = 0;
  for (size_t i = own_inputs(layer); i < layer.inputs.size(); ++i) {
    if (!is_added(layer, i)) continue;
    if (added++ > 0 || layer.inputs[i].dtype != layer.outputs[0].dtype)
      return "an epilogue that adds more than one result";
  }
  for (const size_t i : columns_of(layer)) {
    const Dims dims = dims_of(layer.inputs[i]);
    if (const int64_t count = element_count(dims); count != 1 && (count != channels || dims.back() != channels))
      return "an epilogue that reads more than a value a channel";
    if (layer.inputs[0].dtype == DType::i8 && (i < own_inputs(layer) || layer.inputs[i].dtype != DType::f32))
      return "a bias of integers";
    if (!layer.constants.empty() && !layer.is_constant(i)) return "a bias or scale that is not constant";
  }
  return {};
}

std::string result_function(const char* name, const Problem& layer) {
  const bool bytes = layer.outputs[0].dtype == DType::i8;
  const std::vector<size_t> columns = columns_of(layer);
  const bool adds = added_to(layer).has_value();
  std::string text =
      fmt::format("{}__device__ inline {} {}_of(Sum acc, const float (&c)[COLUMNS]{}) {{\n",
                  adds ? "template <class Other>\n" : "", bytes ? "int" : "float", name, adds ? ", Other other" : "");
  if (own_inputs(layer) > 2 && has(layer, 2)) text += "  acc += c[0];\n";
  const auto* fused = layer.op.as<Fused>();
  if (fused == nullptr) return text + "  return acc;\n}\n";
  const hone::Graph& body = *fused->body;
  const Node& node = body.node(body.order().back());
  const auto& program = node.op.as<Pointwise>()->program;
  std::vector<std::string> inputs;
  for (ValueId v : node.inputs) {
    const auto input = static_cast<size_t>(std::ranges::find(body.inputs(), v) - body.inputs().begin());
    const auto column = std::ranges::find(columns, input) - columns.begin();
    inputs.push_back(body.value(v).producer != NodeId::none            ? "acc"
                     : column < static_cast<ptrdiff_t>(columns.size()) ? fmt::format("c[{}]", column)
                                                                       : "other");
  }
  return text + statements(program, inputs) + fmt::format("  return v{};\n}}\n", program.code.size() - 1);
}

int64_t channel_in_pairs(int64_t row) { return row / 16 * 16 + row % 8 * 2 + row % 16 / 8; }

void pack_rows(const Problem& layer, int64_t row_bytes, int64_t c0, int64_t channels, int64_t (*channel_of)(int64_t),
               std::byte*& to) {
  const Tensor& weights = layer.constants[1];
  const Tensor from = permuted(weights, outputs_first(weights));
  const int64_t channel_bytes = from.count() / from.dims()[0] * static_cast<int64_t>(size_of(from.type()));
  const int64_t runs = row_bytes / 16;
  for (int64_t k = 0; k < channel_bytes; k += row_bytes)
    for (int64_t row = 0; row < channels; ++row, to += row_bytes)
      for (int64_t run = 0; run < runs; ++run)
        std::memcpy(to + (run ^ (row * row_bytes / 128 % runs)) * 16,
                    from.data<std::byte>() + (c0 + channel_of(row)) * channel_bytes + k + run * 16, 16);
}

void pack_columns(const Problem& layer, size_t most, int64_t c0, int64_t channels, std::byte*& to) {
  const std::vector<size_t> columns = columns_of(layer);
  for (size_t k = 0; k < columns.size(); ++k) {
    const Tensor& values = layer.constants[columns[k]];
    for (int64_t i = 0; i < channels; ++i) {
      const auto value = static_cast<float>(values.at(values.count() == 1 ? 0 : c0 + i));
      std::memcpy(to + (static_cast<int64_t>(k) * channels + i) * 4, &value, 4);
    }
  }
  to += static_cast<int64_t>(most) * channels * 4;
}

}  // namespace hone::cuda
