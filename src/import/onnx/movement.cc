#include "ops/movement.h"

#include "import/onnx/importer.h"
#include "ops/elements.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/view.h"

namespace hone::import_onnx {
namespace {

void import_transpose(NodeImport& n) {
  const ValueId x = n.input(0);
  std::vector<int64_t> perm = n.ints("perm");
  if (!n.has("perm"))
    for (int64_t d = n.rank(x); d-- > 0;) perm.push_back(d);
  n.output(0, n.transpose(x, std::move(perm)));
}

void import_slice(NodeImport& n) {
  if (n.opset() >= 10) return n.output(0, n.add(Slice{}, n.inputs()));
  std::vector<ValueId> inputs{n.input(0), n.ints(n.ints("starts")), n.ints(n.ints("ends"))};
  if (n.has("axes")) inputs.push_back(n.ints(n.ints("axes")));
  n.output(0, n.add(Slice{}, std::move(inputs)));
}

void import_concat(NodeImport& n) {
  n.ignore({"axis"});  // of one input
  if (n.input_count() == 1) return n.output(0, n.input(0));
  if (!n.has("axis")) return n.invalid("attribute 'axis' is missing");
  n.output(0, n.add(Concat{n.i("axis")}, n.inputs()));
}

void import_split(NodeImport& n) {
  std::vector<ValueId> inputs{n.input(0)};
  if (n.has("split")) inputs.push_back(n.ints(n.ints("split")));
  if (n.has_input(1)) inputs.push_back(n.input(1));
  const size_t outputs = n.output_count();
  const auto parts = n.i("num_outputs", static_cast<int64_t>(outputs));
  if (n.has("num_outputs") && inputs.size() > 1) return n.invalid("both split sizes and num_outputs are given");
  if (parts != static_cast<int64_t>(outputs)) return n.invalid("num_outputs is {}, the node has {}", parts, outputs);
  const auto values = n.add(Split{n.i("axis")}, std::move(inputs), outputs);
  for (size_t k = 0; k < outputs; ++k) n.output(k, values[k]);
}

void import_pad(NodeImport& n) {
  const Pad op{n.s("mode", "constant")};
  const ValueId x = n.input(0);
  const DType type = n.type(x).dtype;
  if (n.opset() < 11) {
    std::vector<ValueId> inputs{x, n.ints(n.ints("pads"))};
    if (n.f("value") != 0) inputs.push_back(n.scalar(n.f("value"), type));
    return n.output(0, n.add(op, std::move(inputs)));
  }
  std::vector<ValueId> inputs = n.inputs();
  while (inputs.size() > 2 && inputs.back() == ValueId::none) inputs.pop_back();
  n.output(0, n.add(op, std::move(inputs)));
}

void import_expand(NodeImport& n) { n.output(0, n.add(Expand{}, n.inputs())); }
void import_tile(NodeImport& n) { n.output(0, n.add(Tile{}, n.inputs())); }

void import_reshape(NodeImport& n) {
  n.output(0, n.add(Reshape{.allow_zero = n.i("allowzero") != 0}, {n.input(0), n.input(1)}));
}

// The number of elements in dims [from, to) of x, as an i64 vector of one element.
ValueId dim_product(NodeImport& n, ValueId x, int64_t from, int64_t to) {
  return n.add(Reduce{.kind = "prod", .keep_dims = true}, {n.add(ShapeOf{from, to}, {x})});
}

// The product of dims [from, to), or -1 when one is not known.
int64_t known_product(const Shape& shape, int64_t from, int64_t to) {
  int64_t product = 1;
  for (int64_t d = from; d < to; ++d) {
    const Dim& dim = shape.dims[static_cast<size_t>(d)];
    if (!dim.known() || product < 0) return -1;
    product *= dim.value;
  }
  return product;
}

void import_flatten(NodeImport& n) {
  const ValueId x = n.input(0);
  const int64_t rank = n.rank(x);
  int64_t axis = n.i("axis", 1);
  if (axis < -rank || axis > rank) return n.invalid("axis {} is out of range for rank {}", axis, rank);
  if (axis < 0) axis += rank;
  if (n.failed()) return;
  const Shape& shape = n.type(x).shape;
  const int64_t head = known_product(shape, 0, axis), tail = known_product(shape, axis, rank);
  std::vector<int64_t> target;
  if (head > 0) target = {head, tail > 0 ? tail : -1};
  else if (tail > 0) target = {axis == 1 ? 0 : -1, tail};
  if (!target.empty() && head != 0 && tail != 0) return n.output(0, n.reshape(x, target));
  const ValueId dims = n.add(Concat{0}, {dim_product(n, x, 0, axis), dim_product(n, x, axis, rank)});
  n.output(0, n.add(Reshape{.allow_zero = true}, {x, dims}));
}

// A Squeeze or Unsqueeze by the attribute (before opset 13) or by input 1; a Reshape when all dims are known, so that
// the passes see one way to say it.
template <class View>
void import_view(NodeImport& n) {
  const ValueId x = n.input(0), axes = n.opset() < 13 ? ValueId::none : n.input(1);
  if (axes != ValueId::none && !n.constant(axes).defined()) return n.output(0, n.add(View{}, {x, axes}));
  const View op{axes == ValueId::none ? n.ints("axes") : n.constant(axes).to_ints()};
  if (n.failed()) return;
  if (n.type(x).shape.known()) {
    const TensorType type = n.type(x);
    const auto types = op.infer({{&type, 1}, {}});
    if (!types.ok()) return n.fail(types.status());
    const auto target = n.ints(*(*types)[0].shape.concrete());
    return n.output(0, n.add(Reshape{.allow_zero = true}, {x, target}));
  }
  n.output(0, n.add(op, {x}));
}

void import_identity(NodeImport& n) { n.output(0, n.input(0)); }

void import_shape(NodeImport& n) { n.output(0, n.add(ShapeOf{n.i("start"), n.i("end", INT64_MAX)}, {n.input(0)})); }

void import_size(NodeImport& n) {
  const ValueId dims = n.add(ShapeOf{}, {n.input(0)});
  n.output(0, n.add(Reduce{.kind = "prod", .keep_dims = false}, {dims}));
}

// Moves blocks between channels and space: x is seen as `split` dims, transposed, and seen as the result.
// Dims that are not known are taken from the tensor's own shape when the network runs.
struct BlockMove {
  ValueId x;
  ValueId n_dim, c, h, w;  // i64 vectors of one element
};

BlockMove block_dims(NodeImport& n) {
  const ValueId x = n.input(0);
  if (n.rank(x) != 4) n.invalid("the input is {}, not [N,C,H,W]", to_text(n.type(x)));
  const auto dim = [&](int64_t d) { return n.add(ShapeOf{d, d + 1}, {x}); };
  return {x, dim(0), dim(1), dim(2), dim(3)};
}

ValueId join(NodeImport& n, std::vector<ValueId> parts) { return n.add(Concat{0}, std::move(parts)); }

// x over a block count, where it must divide.
ValueId divided(NodeImport& n, ValueId x, int64_t by) {
  const Tensor value = n.failed() ? Tensor() : n.constant(x);
  if (value.defined() && value.int_at(0) % by != 0) n.invalid("dim {} is not a multiple of {}", value.int_at(0), by);
  return n.pointwise(Fn::div, {x, n.ints({by})});
}

void import_depth_to_space(NodeImport& n) {
  const int64_t b = n.i("blocksize");
  const std::string mode = n.s("mode", "DCR");
  if (b < 1 || b > INT32_MAX) return n.invalid("blocksize is {}", b);
  if (mode != "DCR" && mode != "CRD") return n.invalid("mode '{}' is unknown", mode);
  const BlockMove m = block_dims(n);
  const ValueId block = n.ints({b}), depth = divided(n, m.c, b * b);
  const bool depth_first = mode == "CRD";
  const ValueId split = depth_first ? join(n, {m.n_dim, depth, block, block, m.h, m.w})
                                    : join(n, {m.n_dim, block, block, depth, m.h, m.w});
  const ValueId parts = n.add(Reshape{.allow_zero = true}, {m.x, split});
  const ValueId moved =
      n.transpose(parts, depth_first ? std::vector<int64_t>{0, 1, 4, 2, 5, 3} : std::vector<int64_t>{0, 3, 4, 1, 5, 2});
  const ValueId out = join(n, {m.n_dim, depth, n.pointwise(Fn::mul, {m.h, block}), n.pointwise(Fn::mul, {m.w, block})});
  n.output(0, n.add(Reshape{.allow_zero = true}, {moved, out}));
}

void import_space_to_depth(NodeImport& n) {
  const int64_t b = n.i("blocksize");
  if (b < 1 || b > INT32_MAX) return n.invalid("blocksize is {}", b);
  if (n.s("mode", "DCR") != "DCR") return n.unsupported("mode '{}'", n.s("mode"));
  const BlockMove m = block_dims(n);
  const ValueId block = n.ints({b}), rows = divided(n, m.h, b), columns = divided(n, m.w, b);
  const ValueId split = join(n, {m.n_dim, m.c, rows, block, columns, block});
  const ValueId moved = n.transpose(n.add(Reshape{.allow_zero = true}, {m.x, split}), {0, 3, 5, 1, 2, 4});
  const ValueId out = join(n, {m.n_dim, n.pointwise(Fn::mul, {m.c, n.ints({b * b})}), rows, columns});
  n.output(0, n.add(Reshape{.allow_zero = true}, {moved, out}));
}

}  // namespace

std::span<const ImporterRow> movement_importers() {
  static constexpr ImporterRow kRows[] = {
      {"Transpose", import_transpose},
      {"Slice", import_slice},
      {"Concat", import_concat},
      {"Split", import_split},
      {"Pad", import_pad},
      {"Expand", import_expand},
      {"Tile", import_tile},
      {"Reshape", import_reshape},
      {"Flatten", import_flatten},
      {"Squeeze", import_view<Squeeze>},
      {"Unsqueeze", import_view<Unsqueeze>},
      {"Identity", import_identity},
      {"Shape", import_shape},
      {"Size", import_size},
      {"DepthToSpace", import_depth_to_space},
      {"SpaceToDepth", import_space_to_depth},
  };
  return kRows;
}

}  // namespace hone::import_onnx
