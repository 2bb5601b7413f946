#include "ops/fold.h"

#include <algorithm>

#include "ops/quantize.h"
#include "ops/shape.h"

namespace hone {
namespace {

// Shape of a value whose dims are all known, though the value itself is not.
std::optional<Tensors> fold_shape(const Graph& graph, const Op& op, std::span<const ValueId> inputs) {
  const auto* shape = op.as<ShapeOf>();
  if (shape == nullptr || inputs.empty() || inputs[0] == ValueId::none) return std::nullopt;
  const auto dims = graph.type(inputs[0]).shape.concrete();
  if (!dims) return std::nullopt;
  return Tensors{shape->of(*dims)};
}

// Matrices of 8 and 4 bits stay what they are, so that products can be done on them or keep their weights small.
bool makes_quantized_weights(const Graph& graph, const Op& op, std::span<const ValueId> inputs) {
  if (op.as<Dequantize>() == nullptr) return false;
  const TensorType& type = graph.type(inputs[0]);
  constexpr DType kTypes[] = {DType::i8, DType::u8, DType::i4, DType::u4, DType::f8e4m3fn};
  return std::find(std::begin(kTypes), std::end(kTypes), type.dtype) != std::end(kTypes) && type.shape.rank() > 1;
}

// Steps through all dims that are not 0: an empty tensor may have dims that nobody can count to.
bool countable(std::span<const int64_t> dims) {
  Dims steps;
  for (int64_t d : dims) steps.push_back(std::max<int64_t>(d, 1));
  const auto bytes = checked_bytes(DType::u8, steps);
  return bytes.ok() && (element_count(dims) > 0 || *bytes <= kMaxFoldedBytes);
}

}  // namespace

std::optional<Tensors> fold(const Graph& graph, const Op& op, std::span<const ValueId> inputs, size_t outputs) {
  if (auto shape = fold_shape(graph, op, inputs)) return shape;
  if (!op.pure() || makes_quantized_weights(graph, op, inputs)) return std::nullopt;
  Types types;
  Tensors values;
  int64_t input_bytes = 0;
  for (ValueId v : inputs) {
    const Value& value = graph.value(v);
    if (v != ValueId::none && !value.is_constant()) return std::nullopt;
    if (!countable(value.constant.dims())) return std::nullopt;
    types.push_back(value.type);
    values.push_back(value.constant);
    input_bytes += static_cast<int64_t>(value.constant.defined() ? value.constant.bytes() : 0);
  }
  const auto inferred = op.infer({types, values, outputs});
  if (!inferred.ok()) return std::nullopt;
  for (const TensorType& t : *inferred) {
    const auto dims = t.shape.concrete();
    if (!dims) continue;
    const auto bytes = checked_bytes(t.dtype, *dims);
    if (!bytes.ok() || (*bytes > input_bytes && *bytes > kMaxFoldedBytes) || !countable(*dims)) return std::nullopt;
  }
  auto results = op.evaluate({values, outputs});
  if (!results.ok()) return std::nullopt;
  return std::move(*results);
}

}  // namespace hone
