#include "ops/shape.h"

#include <algorithm>

#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

std::pair<int64_t, int64_t> clamp_range(const ShapeOf& op, int64_t rank) {
  const auto clamp = [rank](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank); };
  const int64_t start = clamp(op.start);
  return {start, std::max(start, clamp(op.end))};
}

Result<Dims> resolve(const Dims& input, std::vector<int64_t> target, bool allow_zero) {
  int64_t known = 1, free_at = -1;
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i] == 0 && !allow_zero) {
      if (i >= input.size())
        return invalid("target shape {} copies dim {} of {}", to_string(target), i, to_string(input));
      target[i] = input[i];
    }
    if (target[i] == -1 && free_at >= 0) return invalid("target shape {} has two -1", to_string(target));
    if (target[i] < -1) return invalid("target shape {} has a negative dim", to_string(target));
    if (target[i] == -1) free_at = static_cast<int64_t>(i);
    else if (__builtin_mul_overflow(known, target[i], &known))
      return invalid("target shape {} is too large", to_string(target));
  }
  const int64_t count = element_count(input);
  if (free_at >= 0) {
    if (known == 0 || count % known != 0)
      return invalid("{} cannot be reshaped to {}", to_string(input), to_string(target));
    target[free_at] = count / known;
  } else if (known != count) {
    return invalid("{} cannot be reshaped to {}", to_string(input), to_string(target));
  }
  return target;
}

}  // namespace

Tensor ShapeOf::of(std::span<const int64_t> dims) const {
  const auto [from, to] = clamp_range(*this, static_cast<int64_t>(dims.size()));
  return Tensor::vector(dims.subspan(from, to - from));
}

Result<Types> ShapeOf::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const int64_t rank = args.type(0).shape.rank();
  if (rank < 0) return Types{{DType::i64, Shape({Dim()})}};
  const auto [from, to] = clamp_range(*this, rank);
  return Types{{DType::i64, Shape({Dim(to - from)})}};
}

Result<Tensors> ShapeOf::evaluate(const EvalArgs& args) const { return Tensors{of(args[0].dims())}; }

Result<Types> Reshape::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 2));
  const TensorType& x = args.type(0);
  const Tensor& target = args.value(1);
  if (!target.defined()) {
    return Types{{x.dtype, unknown_dims(vector_length(args.type(1).shape))}};
  }
  if (const auto dims = x.shape.concrete()) {
    HONE_TRY(Dims resolved, resolve(*dims, target.to_ints(), allow_zero));
    return Types{{x.dtype, Shape::of(resolved)}};
  }
  // Some input dims are names: they survive where the target copies them.
  Shape shape;
  for (int64_t t : target.to_ints()) {
    const size_t i = shape.dims.size();
    if (t < -1) return invalid("target shape {} has a negative dim", to_string(target.to_ints()));
    if (t == 0 && !allow_zero && x.shape.ranked && i < x.shape.dims.size()) shape.dims.push_back(x.shape.dims[i]);
    else if (t > 0 || (t == 0 && allow_zero)) shape.dims.emplace_back(t);
    else shape.dims.emplace_back();
  }
  return Types{{x.dtype, shape}};
}

Result<Tensors> Reshape::evaluate(const EvalArgs& args) const {
  HONE_TRY(Dims dims, resolve(args[0].dims(), args[1].to_ints(), allow_zero));
  return Tensors{args[0].reshaped(std::move(dims))};
}

std::span<const OpRow> shape_ops() {
  static constexpr OpRow kRows[] = {op_row<ShapeOf>(), op_row<Reshape>()};
  return kRows;
}

}  // namespace hone
