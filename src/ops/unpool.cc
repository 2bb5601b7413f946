#include "ops/unpool.h"

#include <algorithm>

#include "base/counted.h"
#include "ops/eval.h"
#include "ops/numbers.h"
#include "ops/table.h"
#include "ops/window.h"

namespace hone {
namespace {

// The dims before `output_shape` has its say.
Result<Shape> unpooled(const MaxUnpool& op, const Shape& x) {
  const size_t spatial = op.kernel.size();
  HONE_TRY(const auto geometry, windows(op.kernel, op.strides, std::vector<int64_t>(spatial, 1), op.pads));
  Shape shape = x.ranked ? x : Shape(std::vector<Dim>(spatial + 2));
  if (shape.dims.size() != spatial + 2)
    return invalid("the input has rank {}, the attributes are for rank {}", shape.dims.size(), spatial + 2);
  for (size_t i = 0; i < spatial; ++i) {
    HONE_TRY(shape.dims[i + 2], transposed_positions(shape.dims[i + 2], geometry[i], 0));
  }
  return shape;
}

// The top left part of `from` in zeros of shape `to`.
template <class T>
std::vector<T> corner(const std::vector<T>& from, const Dims& dims, const Dims& to) {
  if (dims == to) return from;
  std::vector<T> out(static_cast<size_t>(element_count(to)));
  Dims common(to);
  for (size_t d = 0; d < to.size(); ++d) common[d] = std::min(to[d], dims[d]);
  if (element_count(common) == 0) return out;
  const Dims a = strides_of(dims), b = strides_of(to);
  Dims at(to.size(), 0);
  do {
    int64_t i = 0, j = 0;
    for (size_t d = 0; d < at.size(); ++d) i += at[d] * a[d], j += at[d] * b[d];
    out[static_cast<size_t>(j)] = from[static_cast<size_t>(i)];
  } while (next_index(at, common));
  return out;
}

struct Blocks {
  std::vector<Window> windows;
  Dims image, counts;
  int64_t taps = 1;
};

// How blocks of `block` lie in an image of `image`.
Result<Blocks> blocks_of(const Col2Im& op, const Dims& image, const Dims& block) {
  const size_t spatial = image.size();
  if (block.size() != spatial || spatial == 0)
    return invalid("blocks {} in an image {}", to_string(block), to_string(image));
  const std::vector<int64_t> ones(spatial, 1), zeros(2 * spatial, 0);
  Blocks out;
  HONE_TRY(out.windows, windows(block, op.strides.empty() ? ones : op.strides,
                                op.dilations.empty() ? ones : op.dilations, op.pads.empty() ? zeros : op.pads));
  HONE_CHECK(checked_bytes(DType::f64, image));
  HONE_CHECK(checked_bytes(DType::f64, block));
  out.image = image;
  out.taps = element_count(block);
  for (size_t i = 0; i < spatial; ++i) {
    HONE_TRY(const Dim count, window_positions(Dim(image[i]), out.windows[i]));
    out.counts.push_back(count.value);
  }
  return out;
}

template <class T>
std::vector<T> fold_blocks(const Blocks& blocks, const std::vector<T>& x, int64_t planes) {
  const int64_t size = element_count(blocks.image), count = element_count(blocks.counts);
  std::vector<T> out(static_cast<size_t>(planes * size));
  if (count == 0) return out;
  Dims at(blocks.counts.size(), 0);
  std::vector<int64_t> taps;
  int64_t position = 0;
  do {
    window_taps(blocks.windows, blocks.image, at, taps);
    for (int64_t p = 0; p < planes; ++p) {
      for (int64_t t = 0; t < blocks.taps; ++t) {
        if (taps[static_cast<size_t>(t)] < 0) continue;
        T& to = out[static_cast<size_t>(p * size + taps[static_cast<size_t>(t)])];
        to = add_wrapping(to, x[static_cast<size_t>((p * blocks.taps + t) * count + position)]);
      }
    }
    ++position;
  } while (next_index(at, blocks.counts));
  return out;
}

}  // namespace

Result<Types> MaxUnpool::infer(const InferArgs& args) const {
  const TensorType& x = args.type(0);
  if (!is_numeric(x.dtype) || args.type(1).dtype != DType::i64)
    return invalid("unpooling of {} by {}", name(x.dtype), name(args.type(1).dtype));
  HONE_TRY(Shape shape, unpooled(*this, x.shape));
  if (!args.has(2)) return Types{{x.dtype, shape}};
  if (!args.value(2).defined()) return Types{{x.dtype, Shape(std::vector<Dim>(shape.dims.size()))}};
  const Dims target = args.value(2).to_ints();
  if (target.size() != shape.dims.size())
    return invalid("output_shape {} for rank {}", to_string(target), shape.dims.size());
  HONE_CHECK(checked_bytes(x.dtype, target));
  return Types{{x.dtype, Shape::of(target)}};
}

Result<Tensors> MaxUnpool::evaluate(const EvalArgs& args) const {
  const Types inputs = types_of(args);
  HONE_TRY(const Types types, infer({inputs, args.inputs, 1}));
  HONE_TRY(const Shape shape, unpooled(*this, inputs[0].shape));
  const Dims dims = *shape.concrete(), out_dims = *types[0].shape.concrete();
  HONE_CHECK(checked_bytes(DType::f64, dims));
  const int64_t count = element_count(dims);
  const auto indices = args[1].to_ints();
  if (args[1].count() != args[0].count())
    return invalid("{} for {}", counted(args[1].count(), "index", "indices"), counted(args[0].count(), "element"));
  for (int64_t i : indices)
    if (i < 0 || i >= count) return invalid("index {} is out of range for {}", i, to_string(dims));
  return with_number(types[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto x = numbers_of<T>(args[0]);
    std::vector<T> out(static_cast<size_t>(count));
    for (size_t i = 0; i < x.size(); ++i) out[static_cast<size_t>(indices[i])] = x[i];
    return Tensors{tensor_from(types[0].dtype, out_dims, corner(out, dims, out_dims))};
  });
}

Result<Types> Col2Im::infer(const InferArgs& args) const {
  const TensorType& x = args.type(0);
  if (!is_numeric(x.dtype)) return invalid("col2im of {}", name(x.dtype));
  if (x.shape.ranked && x.shape.rank() != 3) return invalid("the columns are {}, expected rank 3", to_text(x));
  const Dim batch = x.shape.ranked ? x.shape.dims[0] : Dim();
  const Tensor &image = args.value(1), &block = args.value(2);
  if (!image.defined()) {
    const auto length = args.type(1).shape.concrete();
    if (!length || length->size() != 1 || (*length)[0] > 16) return Types{{x.dtype, Shape::unranked()}};
    Shape shape(std::vector<Dim>(static_cast<size_t>((*length)[0]) + 2));
    shape.dims[0] = batch;
    return Types{{x.dtype, shape}};
  }
  Shape shape({batch, Dim()});
  for (int64_t d : image.to_ints()) shape.dims.emplace_back(d);
  if (!block.defined()) return Types{{x.dtype, shape}};
  HONE_TRY(const Blocks blocks, blocks_of(*this, image.to_ints(), block.to_ints()));
  if (!x.shape.ranked) return Types{{x.dtype, shape}};
  const Dim &rows = x.shape.dims[1], &columns = x.shape.dims[2];
  if ((rows.known() && rows.value % std::max<int64_t>(blocks.taps, 1) != 0) ||
      (columns.known() && columns.value != element_count(blocks.counts)))
    return invalid("columns {} do not fit blocks {} of {}", to_text(x), to_string(blocks.counts),
                   counted(blocks.taps, "element"));
  if (rows.known()) shape.dims[1] = Dim(rows.value / std::max<int64_t>(blocks.taps, 1));
  return Types{{x.dtype, shape}};
}

Result<Tensors> Col2Im::evaluate(const EvalArgs& args) const {
  const Types inputs = types_of(args);
  HONE_TRY(const Types types, infer({inputs, args.inputs, 1}));
  const Dims dims = *types[0].shape.concrete();
  HONE_CHECK(checked_bytes(DType::f64, dims));
  HONE_TRY(const Blocks blocks, blocks_of(*this, args[1].to_ints(), args[2].to_ints()));
  return with_number(types[0].dtype, [&](auto zero) {
    const auto x = numbers_of<decltype(zero)>(args[0]);
    return Tensors{tensor_from(types[0].dtype, dims, fold_blocks(blocks, x, dims[0] * dims[1]))};
  });
}

std::span<const OpRow> unpool_ops() {
  static constexpr OpRow kRows[] = {op_row<MaxUnpool>(), op_row<Col2Im>()};
  return kRows;
}

}  // namespace hone
