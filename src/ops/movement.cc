#include "ops/movement.h"

#include <algorithm>

#include "base/counted.h"
#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

constexpr int64_t kLargest = int64_t{1} << 62;  // of a dim

Status check_perm(std::span<const int64_t> perm) {
  std::vector<bool> seen(perm.size(), false);
  for (int64_t p : perm) {
    if (p < 0 || p >= static_cast<int64_t>(perm.size()) || seen[static_cast<size_t>(p)])
      return invalid("perm {} is not a permutation", to_string(perm));
    seen[static_cast<size_t>(p)] = true;
  }
  return {};
}

Result<Shape> concat_shape(const InferArgs& args, int64_t axis_attr) {
  const Shape* first = nullptr;
  for (const TensorType& type : args.types)
    if (type.shape.ranked && first == nullptr) first = &type.shape;
  if (first == nullptr) return Shape::unranked();
  HONE_TRY(const int64_t axis, normalize_axis(axis_attr, first->rank()));
  Shape out = unknown_dims(first->rank());
  int64_t total = 0;
  for (const TensorType& type : args.types) {
    const Shape& shape = type.shape;
    if (!shape.ranked) {
      total = -1;
      continue;
    }
    if (shape.rank() != first->rank()) return invalid("ranks {} and {} differ", first->rank(), shape.rank());
    for (size_t d = 0; d < shape.dims.size(); ++d) {
      if (static_cast<int64_t>(d) == axis) continue;
      HONE_TRY(out.dims[d], merge_dims(out.dims[d], shape.dims[d]));
    }
    const Dim& along = shape.dims[static_cast<size_t>(axis)];
    if (total >= 0 && along.value > kLargest - total) return invalid("a dim of more than {} elements", kLargest);
    total = total >= 0 && along.known() ? total + along.value : -1;
  }
  if (total >= 0) out.dims[static_cast<size_t>(axis)] = total;
  if (args.types.size() == 1) out.dims[static_cast<size_t>(axis)] = first->dims[static_cast<size_t>(axis)];
  return out;
}

// Sizes of the parts of a dim; `sizes` may be undefined.
Result<std::vector<int64_t>> part_sizes(int64_t dim, size_t parts, const Tensor& sizes) {
  if (sizes.defined()) {
    auto given = sizes.to_ints();
    int64_t total = 0;
    for (int64_t s : given) {
      if (s < 0 || s > dim - total) return invalid("parts {} do not add up to the dim {}", to_string(given), dim);
      total += s;
    }
    if (given.size() != parts)
      return invalid("{} for {}", counted(given.size(), "part size"), counted(parts, "output"));
    if (total != dim) return invalid("parts {} do not add up to the dim {}", to_string(given), dim);
    return given;
  }
  const auto n = static_cast<int64_t>(parts);
  const int64_t part = (dim + n - 1) / n;
  std::vector<int64_t> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(std::clamp<int64_t>(dim - i * part, 0, part));
  return out;
}

Result<Dims> tiled_dims(const Dims& dims, const Tensor& repeats) {
  if (repeats.count() != static_cast<int64_t>(dims.size()))
    return invalid("{} for shape {}", counted(repeats.count(), "repeat"), to_string(dims));
  Dims out = dims;
  for (size_t d = 0; d < dims.size(); ++d) {
    const int64_t r = repeats.int_at(static_cast<int64_t>(d));
    if (r < 0) return invalid("repeats {} are negative", to_string(repeats.to_ints()));
    if (__builtin_mul_overflow(out[d], r, &out[d]))
      return invalid("{} of dim {} are too many", counted(r, "repeat"), dims[d]);
  }
  return out;
}

}  // namespace

Result<Types> Transpose::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const TensorType& x = args.type(0);
  HONE_CHECK(check_perm(perm));
  Shape out = unknown_dims(static_cast<int64_t>(perm.size()));
  if (x.shape.ranked) {
    if (x.shape.dims.size() != perm.size()) return invalid("perm {} for rank {}", to_string(perm), x.shape.rank());
    for (size_t d = 0; d < perm.size(); ++d) out.dims[d] = x.shape.dims[static_cast<size_t>(perm[d])];
  }
  return Types{{x.dtype, out}};
}

Result<Tensors> Transpose::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  HONE_CHECK(check_perm(perm));
  if (x.dims().size() != perm.size()) return invalid("perm {} for shape {}", to_string(perm), to_string(x.dims()));
  const Dims own = strides_of(x.dims());
  Dims dims, strides;
  for (int64_t p : perm) {
    dims.push_back(x.dims()[static_cast<size_t>(p)]);
    strides.push_back(own[static_cast<size_t>(p)]);
  }
  return Tensors{copy_strided(x, dims, strides)};
}

Result<Types> Concat::infer(const InferArgs& args) const {
  if (args.types.empty()) return invalid("there is nothing to concatenate");
  HONE_CHECK(require_inputs(args.types, args.types.size()));
  for (const TensorType& type : args.types)
    if (type.dtype != args.type(0).dtype)
      return invalid("inputs are {} and {}", name(args.type(0).dtype), name(type.dtype));
  HONE_TRY(Shape shape, concat_shape(args, axis));
  return Types{{args.type(0).dtype, std::move(shape)}};
}

Result<Tensors> Concat::evaluate(const EvalArgs& args) const {
  Types types;
  for (const Tensor& t : args.inputs) types.push_back({t.type(), Shape::of(t.dims())});
  HONE_TRY(const Types inferred, infer({types, {}}));
  const Dims dims = *inferred[0].shape.concrete();
  HONE_CHECK(check_dims(inferred[0].dtype, dims));
  Tensor out(inferred[0].dtype, dims);
  const int64_t at = *normalize_axis(axis, out.rank());
  const int64_t outer = span_count(dims, 0, at), row = span_count(dims, at, out.rank());
  int64_t begin = 0;
  for (const Tensor& t : args.inputs) {
    const int64_t run = span_count(t.dims(), at, t.rank());
    for (int64_t o = 0; o < outer; ++o) copy_elements(t, o * run, out, o * row + begin, run);
    begin += run;
  }
  return Tensors{out};
}

Result<Types> Split::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const TensorType& x = args.type(0);
  if (args.outputs == 0) return invalid("there are no outputs");
  if (!x.shape.ranked) return Types(args.outputs, x);
  HONE_TRY(const int64_t at, normalize_axis(axis, x.shape.rank()));
  const Dim whole = x.shape.dims[static_cast<size_t>(at)];
  const Tensor& sizes = args.value(1);
  Types out(args.outputs, x);
  std::vector<int64_t> parts;
  if (whole.known() && (sizes.defined() || !args.has(1))) {
    HONE_TRY(parts, part_sizes(whole.value, args.outputs, sizes));
  } else if (sizes.defined()) {
    parts = sizes.to_ints();
    if (parts.size() != args.outputs)
      return invalid("{} for {}", counted(parts.size(), "part size"), counted(args.outputs, "output"));
  }
  for (size_t i = 0; i < out.size(); ++i) {
    Dim& dim = out[i].shape.dims[static_cast<size_t>(at)];
    if (!parts.empty() && parts[i] < 0) return invalid("part sizes {} are negative", to_string(parts));
    if (!parts.empty()) dim = parts[i];
    else if (out.size() > 1) dim = {};
  }
  return out;
}

Result<Tensors> Split::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  HONE_TRY(const int64_t at, normalize_axis(axis, x.rank()));
  HONE_TRY(const auto parts, part_sizes(x.dims()[static_cast<size_t>(at)], args.outputs, args[1]));
  const Dims strides = strides_of(x.dims());
  Tensors out;
  int64_t begin = 0;
  for (int64_t part : parts) {
    Dims dims = x.dims();
    dims[static_cast<size_t>(at)] = part;
    out.push_back(copy_strided(x, dims, strides, begin * strides[static_cast<size_t>(at)]));
    begin += part;
  }
  return out;
}

Result<Types> Expand::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 2));
  const TensorType& x = args.type(0);
  Shape target;
  if (const Tensor& shape = args.value(1); shape.defined()) {
    HONE_CHECK(check_dims(x.dtype, shape.to_ints()));
    target = Shape::of(shape.to_ints());
  } else {
    target = unknown_dims(vector_length(args.type(1).shape));
  }
  HONE_TRY(Shape out, broadcast(x.shape, target));
  return Types{{x.dtype, std::move(out)}};
}

Result<Tensors> Expand::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  const auto target = args[1].to_ints();
  HONE_CHECK(check_dims(x.type(), target));
  HONE_TRY(const Shape shape, broadcast(Shape::of(x.dims()), Shape::of(target)));
  const Dims dims = *shape.concrete(), own = strides_of(x.dims());
  HONE_CHECK(check_dims(x.type(), dims));
  Dims strides(dims.size(), 0);
  const size_t shift = dims.size() - own.size();
  for (size_t d = 0; d < own.size(); ++d)
    if (x.dims()[d] != 1) strides[d + shift] = own[d];
  return Tensors{copy_strided(x, dims, strides)};
}

Result<Types> Tile::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 2));
  const TensorType& x = args.type(0);
  const Tensor& repeats = args.value(1);
  if (!repeats.defined())
    return Types{{x.dtype, unknown_dims(x.shape.ranked ? x.shape.rank() : vector_length(args.type(1).shape))}};
  if (const auto dims = x.shape.concrete()) {
    HONE_TRY(const Dims tiled, tiled_dims(*dims, repeats));
    HONE_CHECK(check_dims(x.dtype, tiled));
    return Types{{x.dtype, Shape::of(tiled)}};
  }
  if (!x.shape.ranked) return Types{{x.dtype, unknown_dims(repeats.count())}};
  if (repeats.count() != x.shape.rank())
    return invalid("{} for rank {}", counted(repeats.count(), "repeat"), x.shape.rank());
  Shape out = x.shape;
  for (size_t d = 0; d < out.dims.size(); ++d) {
    const int64_t r = repeats.int_at(static_cast<int64_t>(d));
    if (r < 0) return invalid("repeats {} are negative", to_string(repeats.to_ints()));
    if (r == 0) out.dims[d] = 0;
    else if (r == 1) continue;
    else if (!out.dims[d].known()) out.dims[d] = {};
    else if (__builtin_mul_overflow(out.dims[d].value, r, &out.dims[d].value))
      return invalid("{} are too many", counted(r, "repeat"));
  }
  return Types{{x.dtype, std::move(out)}};
}

Result<Tensors> Tile::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  HONE_TRY(Dims tiled, tiled_dims(x.dims(), args[1]));
  HONE_CHECK(check_dims(x.type(), tiled));
  // Every dim d becomes the pair (repeats, d), the first of stride 0.
  const Dims own = strides_of(x.dims());
  Dims dims, strides;
  for (size_t d = 0; d < own.size(); ++d) {
    dims.insert(dims.end(), {args[1].int_at(static_cast<int64_t>(d)), x.dims()[d]});
    strides.insert(strides.end(), {0, own[d]});
  }
  return Tensors{copy_strided(x, dims, strides).reshaped(std::move(tiled))};
}

std::span<const OpRow> movement_ops() {
  static constexpr OpRow kRows[] = {op_row<Transpose>(), op_row<Slice>(),  op_row<Concat>(), op_row<Split>(),
                                    op_row<Pad>(),       op_row<Expand>(), op_row<Tile>()};
  return kRows;
}

}  // namespace hone
