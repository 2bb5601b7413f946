#include "ops/view.h"

#include <algorithm>

#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

bool contains(const std::vector<int64_t>& axes, size_t axis) {
  return std::find(axes.begin(), axes.end(), static_cast<int64_t>(axis)) != axes.end();
}

}  // namespace

Result<Types> Squeeze::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const TensorType& x = args.type(0);
  if (!x.shape.ranked || (axes.empty() && !x.shape.known())) return Types{{x.dtype, Shape::unranked()}};
  HONE_TRY(const auto dropped, normalize_axes(axes, x.shape.rank()));
  Shape out;
  for (size_t d = 0; d < x.shape.dims.size(); ++d) {
    const Dim& dim = x.shape.dims[d];
    const bool named = contains(dropped, d);
    if (named && dim.known() && dim.value != 1) return invalid("dim {} is {}, not 1", d, dim.value);
    if (!named && (!axes.empty() || dim.value != 1)) out.dims.push_back(dim);
  }
  return Types{{x.dtype, out}};
}

Result<Tensors> Squeeze::evaluate(const EvalArgs& args) const {
  const TensorType type{args[0].type(), Shape::of(args[0].dims())};
  HONE_TRY(const Types out, infer({{&type, 1}, {}}));
  return Tensors{args[0].reshaped(*out[0].shape.concrete())};
}

Result<Types> Unsqueeze::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const TensorType& x = args.type(0);
  if (!x.shape.ranked) return Types{{x.dtype, Shape::unranked()}};
  const int64_t rank = x.shape.rank() + static_cast<int64_t>(axes.size());
  HONE_TRY(const auto inserted, normalize_axes(axes, rank));
  Shape out;
  size_t next = 0;
  for (size_t d = 0; d < static_cast<size_t>(rank); ++d) out.dims.push_back(contains(inserted, d) ? Dim(1) : x.shape.dims[next++]);
  return Types{{x.dtype, out}};
}

Result<Tensors> Unsqueeze::evaluate(const EvalArgs& args) const {
  const TensorType type{args[0].type(), Shape::of(args[0].dims())};
  HONE_TRY(const Types out, infer({{&type, 1}, {}}));
  return Tensors{args[0].reshaped(*out[0].shape.concrete())};
}

std::span<const OpRow> view_ops() {
  static constexpr OpRow kRows[] = {op_row<Squeeze>(), op_row<Unsqueeze>()};
  return kRows;
}

}  // namespace hone
