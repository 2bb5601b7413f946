#include "ops/sequence.h"

#include <algorithm>
#include <numeric>

#include "base/counted.h"
#include "ops/movement.h"
#include "ops/stack.h"
#include "ops/table.h"

namespace hone {
namespace {

TensorType list_of(DType element) { return {DType::sequence, Shape(), element}; }

Status check_list(const InferArgs& args) {
  if (args.type(0).dtype != DType::sequence) return invalid("input 0 is {}, not a sequence", to_text(args.type(0)));
  return {};
}

Status check_list(const Tensor& x) {
  if (x.type() != DType::sequence) return invalid("input 0 is not a sequence");
  return {};
}

// Where in a list of `count` a position tensor points; `last` when there is none.
Result<size_t> position(const Tensor& at, int64_t count, int64_t last, int64_t limit) {
  if (!at.defined()) {
    if (last < 0) return invalid("the sequence is empty");
    return static_cast<size_t>(last);
  }
  if (at.count() != 1) return invalid("position has {}", counted(at.count(), "element"));
  const int64_t given = at.int_at(0), index = given < 0 ? given + count : given;
  if (index < 0 || index > limit) return invalid("position {} in a sequence of {}", given, count);
  return static_cast<size_t>(index);
}

// The sizes of the parts that a dim of `total` is split into.
Result<std::vector<int64_t>> part_sizes(const Tensor& sizes, int64_t total) {
  if (!sizes.defined()) return std::vector<int64_t>(static_cast<size_t>(total), 1);
  std::vector<int64_t> parts = sizes.to_ints();
  if (sizes.rank() == 0) {
    const int64_t size = parts[0];
    if (size <= 0) return invalid("split size {}", size);
    parts.clear();
    for (int64_t left = total; left > 0; left -= size) parts.push_back(std::min(size, left));
    return parts;
  }
  int64_t left = total;
  for (int64_t part : parts) {
    if (part < 0 || part > left) return invalid("split sizes {} of dim {}", to_string(parts), total);
    left -= part;
  }
  if (left != 0) return invalid("split sizes {} of dim {}", to_string(parts), total);
  return parts;
}

Result<Tensor> slice_range(const Tensor& x, int64_t axis, int64_t from, int64_t to) {
  const auto one = [](int64_t v) { return Tensor::vector(std::vector<int64_t>{v}); };
  const Tensors args{x, one(from), one(to), one(axis)};
  HONE_TRY(Tensors part, Slice{}.evaluate({args, 1}));
  return part[0];
}

}  // namespace

Result<Types> SequenceConstruct::infer(const InferArgs& args) const {
  const DType type = args.types.empty() ? element : args.type(0).dtype;
  for (const TensorType& t : args.types)
    if (t.dtype != type) return invalid("a sequence cannot hold both {} and {}", name(type), name(t.dtype));
  return Types{list_of(type)};
}

Result<Tensors> SequenceConstruct::evaluate(const EvalArgs& args) const {
  return Tensors{Tensor::sequence({args.inputs.begin(), args.inputs.end()})};
}

Result<Types> SequenceAt::infer(const InferArgs& args) const {
  HONE_CHECK(check_list(args));
  return Types{{args.type(0).element, Shape::unranked()}};
}

Result<Tensors> SequenceAt::evaluate(const EvalArgs& args) const {
  HONE_CHECK(check_list(args[0]));
  const auto& items = args[0].items();
  const auto count = static_cast<int64_t>(items.size());
  HONE_TRY(const size_t at, position(args[1], count, count - 1, count - 1));
  return Tensors{items[at]};
}

Result<Types> SequenceInsert::infer(const InferArgs& args) const {
  HONE_CHECK(check_list(args));
  const DType element = args.type(0).element, added = args.type(1).dtype;
  if (element != DType::none && element != added)
    return invalid("cannot insert {} into a sequence of {}", name(added), name(element));
  return Types{list_of(added)};
}

Result<Tensors> SequenceInsert::evaluate(const EvalArgs& args) const {
  HONE_CHECK(check_list(args[0]));
  std::vector<Tensor> items = args[0].items();
  const auto count = static_cast<int64_t>(items.size());
  HONE_TRY(const size_t at, position(args[2], count, count, count));
  items.insert(items.begin() + static_cast<std::ptrdiff_t>(at), args[1]);
  return Tensors{Tensor::sequence(std::move(items))};
}

Result<Types> SequenceErase::infer(const InferArgs& args) const {
  HONE_CHECK(check_list(args));
  return Types{args.type(0)};
}

Result<Tensors> SequenceErase::evaluate(const EvalArgs& args) const {
  HONE_CHECK(check_list(args[0]));
  std::vector<Tensor> items = args[0].items();
  const auto count = static_cast<int64_t>(items.size());
  HONE_TRY(const size_t at, position(args[1], count, count - 1, count - 1));
  items.erase(items.begin() + static_cast<std::ptrdiff_t>(at));
  return Tensors{Tensor::sequence(std::move(items))};
}

Result<Types> SequenceLength::infer(const InferArgs& args) const {
  HONE_CHECK(check_list(args));
  return Types{{DType::i64, Shape()}};
}

Result<Tensors> SequenceLength::evaluate(const EvalArgs& args) const {
  HONE_CHECK(check_list(args[0]));
  return Tensors{Tensor::scalar(static_cast<int64_t>(args[0].items().size()))};
}

Result<Types> SplitToSequence::infer(const InferArgs& args) const {
  const TensorType& x = args.type(0);
  const int64_t rank = x.shape.rank();
  if (x.shape.ranked && (axis < -rank || axis >= rank)) return invalid("axis {} of rank {}", axis, rank);
  return Types{list_of(x.dtype)};
}

Result<Tensors> SplitToSequence::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  if (axis < -x.rank() || axis >= x.rank()) return invalid("axis {} of rank {}", axis, x.rank());
  const int64_t at = axis < 0 ? axis + x.rank() : axis;
  HONE_TRY(const std::vector<int64_t> parts, part_sizes(args[1], x.dims()[static_cast<size_t>(at)]));
  std::vector<Tensor> items;
  int64_t from = 0;
  for (int64_t part : parts) {
    HONE_TRY(Tensor item, slice_range(x, at, from, from + part));
    if (!keep_dims && !args.has(1)) {
      Dims dims = item.dims();
      dims.erase(dims.begin() + at);
      item = item.reshaped(std::move(dims));
    }
    items.push_back(std::move(item));
    from += part;
  }
  return Tensors{Tensor::sequence(std::move(items))};
}

Result<Types> ConcatFromSequence::infer(const InferArgs& args) const {
  HONE_CHECK(check_list(args));
  return Types{{args.type(0).element, Shape::unranked()}};
}

Result<Tensors> ConcatFromSequence::evaluate(const EvalArgs& args) const {
  HONE_CHECK(check_list(args[0]));
  HONE_TRY(Tensor joined, new_axis ? stack(args[0].items(), axis) : concat(args[0].items(), axis));
  return Tensors{std::move(joined)};
}

Result<Types> EmptyOptional::infer(const InferArgs&) const {
  return Types{{type, type == DType::sequence ? Shape() : Shape::unranked(), element}};
}

Result<Tensors> EmptyOptional::evaluate(const EvalArgs&) const { return Tensors{Tensor()}; }

Result<Types> OptionalHasElement::infer(const InferArgs&) const { return Types{{DType::boolean, Shape()}}; }

Result<Tensors> OptionalHasElement::evaluate(const EvalArgs& args) const {
  return Tensors{Tensor::scalar(args.has(0) ? 1.0 : 0.0, DType::boolean)};
}

Result<Types> OptionalGetElement::infer(const InferArgs& args) const {
  if (!args.has(0)) return invalid("the optional is empty");
  return Types{args.type(0)};
}

Result<Tensors> OptionalGetElement::evaluate(const EvalArgs& args) const {
  if (!args.has(0)) return invalid("the optional is empty");
  return Tensors{args[0]};
}

std::span<const OpRow> sequence_ops() {
  static constexpr OpRow kRows[] = {
      op_row<SequenceConstruct>(),  op_row<SequenceAt>(),        op_row<SequenceInsert>(),     op_row<SequenceErase>(),
      op_row<SequenceLength>(),     op_row<SplitToSequence>(),   op_row<ConcatFromSequence>(), op_row<EmptyOptional>(),
      op_row<OptionalHasElement>(), op_row<OptionalGetElement>()};
  return kRows;
}

}  // namespace hone
