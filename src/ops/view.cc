#include "ops/view.h"

#include <algorithm>

#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

std::vector<int64_t> axes_of(const InferArgs& args, const std::vector<int64_t>& attribute) {
  return args.value(1).defined() ? args.value(1).to_ints() : attribute;
}

// Evaluation is what inference says once all is known.
template <class View>
Result<Tensors> reshaped(const View& op, const EvalArgs& args) {
  Types types;
  for (const Tensor& t : args.inputs) types.push_back({t.type(), Shape::of(t.dims())});
  HONE_TRY(const Types out, op.infer({types, args.inputs}));
  return Tensors{args[0].reshaped(*out[0].shape.concrete())};
}

bool contains(const std::vector<int64_t>& axes, size_t axis) {
  return std::find(axes.begin(), axes.end(), static_cast<int64_t>(axis)) != axes.end();
}

}  // namespace

Result<Types> Squeeze::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const TensorType& x = args.type(0);
  if (args.has(1) && !args.value(1).defined()) {
    const int64_t n = vector_length(args.type(1).shape);
    return Types{{x.dtype, x.shape.ranked && n > 0 ? unknown_dims(x.shape.rank() - n) : Shape::unranked()}};
  }
  const auto given = axes_of(args, axes);
  if (!x.shape.ranked || (given.empty() && !x.shape.known())) return Types{{x.dtype, Shape::unranked()}};
  HONE_TRY(const auto dropped, normalize_axes(given, x.shape.rank()));
  Shape out;
  for (size_t d = 0; d < x.shape.dims.size(); ++d) {
    const Dim& dim = x.shape.dims[d];
    const bool named = contains(dropped, d);
    if (named && dim.known() && dim.value != 1) return invalid("dim {} is {}, not 1", d, dim.value);
    if (!named && (!given.empty() || dim.value != 1)) out.dims.push_back(dim);
  }
  return Types{{x.dtype, out}};
}

Result<Tensors> Squeeze::evaluate(const EvalArgs& args) const {
  return reshaped(*this, args);
}

Result<Types> Unsqueeze::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const TensorType& x = args.type(0);
  if (!x.shape.ranked) return Types{{x.dtype, Shape::unranked()}};
  if (args.has(1) && !args.value(1).defined()) {
    const int64_t n = vector_length(args.type(1).shape);
    return Types{{x.dtype, n < 0 ? Shape::unranked() : unknown_dims(x.shape.rank() + n)}};
  }
  const auto given = axes_of(args, axes);
  const int64_t rank = x.shape.rank() + static_cast<int64_t>(given.size());
  HONE_TRY(const auto inserted, normalize_axes(given, rank));
  Shape out;
  size_t next = 0;
  for (size_t d = 0; d < static_cast<size_t>(rank); ++d)
    out.dims.push_back(contains(inserted, d) ? Dim(1) : x.shape.dims[next++]);
  return Types{{x.dtype, out}};
}

Result<Tensors> Unsqueeze::evaluate(const EvalArgs& args) const {
  return reshaped(*this, args);
}

std::span<const OpRow> view_ops() {
  static constexpr OpRow kRows[] = {op_row<Squeeze>(), op_row<Unsqueeze>()};
  return kRows;
}

}  // namespace hone
