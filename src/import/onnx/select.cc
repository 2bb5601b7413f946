#include "ops/select.h"

#include "import/onnx/expr.h"
#include "import/onnx/importer.h"
#include "import/onnx/positions.h"
#include "ops/cumulate.h"
#include "ops/gather.h"
#include "ops/linalg.h"
#include "ops/movement.h"
#include "ops/shape.h"
#include "ops/sort.h"

namespace hone::import_onnx {
namespace {

void import_top_k(NodeImport& n) {
  n.ignore({"sorted"});  // sorted is one of the orders that 0 allows
  const TopK op{n.i("axis", -1), n.i("largest", 1) != 0};
  const ValueId k = n.opset() < 10 ? n.ints({n.i("k")}) : n.input(1);
  const auto results = n.add(op, {n.input(0), k}, 2);
  n.output(0, results[0]);
  n.output(1, results[1]);
}

void import_unique(NodeImport& n) {
  const auto results = n.add(Unique{n.has("axis"), n.i("axis"), n.i("sorted", 1) != 0}, {n.input(0)}, 4);
  for (size_t k = 0; k < results.size(); ++k) n.output(k, results[k]);
}

void import_non_zero(NodeImport& n) { n.output(0, n.add(NonZero{}, {n.input(0)})); }

void import_non_max_suppression(NodeImport& n) {
  n.output(0, n.add(NonMaxSuppression{n.i("center_point_box") != 0}, n.inputs()));
}

template <bool product>
void import_cumulate(NodeImport& n) {
  const Cumulate op{product ? "prod" : "sum", n.i("exclusive") != 0, n.i("reverse") != 0};
  n.output(0, n.add(op, {n.input(0), n.input(1)}));
}

void import_compress(NodeImport& n) {
  const ValueId chosen = n.reshape(n.add(NonZero{}, {n.input(1)}), {-1});
  if (n.has("axis")) return n.output(0, n.add(Gather{n.i("axis")}, {n.input(0), chosen}));
  n.output(0, n.add(Gather{0}, {n.reshape(n.input(0), {-1}), chosen}));
}

// Position t of a sequence of length L holds element L - 1 - t; what lies behind stays.
void import_reverse_sequence(NodeImport& n) {
  const ValueId x = n.input(0), lengths = n.input(1);
  const int64_t rank = n.rank(x), batch = n.axis(n.i("batch_axis", 1), rank), time = n.axis(n.i("time_axis", 0), rank);
  if (rank < 2 || batch == time) return n.invalid("batch_axis {} and time_axis {} of rank {}", batch, time, rank);
  Formula f;
  const Expr t = f.input(DType::i64), length = f.input(DType::i64);
  const Expr source = where(apply(Fn::less, t, length), length - t - 1, t);
  const ValueId times = along(n, range(n, dim_of(n, x, time)), time, rank);
  const ValueId spans = along(n, n.cast(lengths, DType::i64), batch, rank);
  const ValueId indices = n.add(Expand{}, {n.pointwise(f.program(source), {times, spans}), n.add(ShapeOf{}, {x})});
  n.output(0, n.add(GatherElements{time}, {x, indices}));
}

// The update's rows are scattered to write_indices[batch] + 0, 1, ... along the axis.
void import_tensor_scatter(NodeImport& n) {
  const ValueId cache = n.input(0), update = n.input(1);
  const std::string mode = n.s("mode", "linear");
  if (mode != "linear" && mode != "circular") return n.invalid("mode '{}' is unknown", mode);
  const int64_t rank = n.rank(cache), axis = n.axis(n.i("axis", -2), rank);
  if (axis == 0) return n.invalid("axis 0 is the batch");
  ValueId rows = along(n, range(n, dim_of(n, update, axis)), axis, rank);
  if (n.has_input(2)) rows = n.pointwise(Fn::add, {rows, along(n, n.cast(n.input(2), DType::i64), 0, rank)});
  if (mode == "circular") rows = n.pointwise(Fn::mod, {rows, dim_of(n, cache, axis)});
  const ValueId indices = n.add(Expand{}, {rows, n.add(ShapeOf{}, {update})});
  n.output(0, n.add(ScatterElements{.axis = axis}, {cache, indices, update}));
}

void import_one_hot(NodeImport& n) {
  const ValueId x = n.input(0), values = n.input(2);
  const int64_t rank = n.rank(x) + 1, axis = n.axis(n.i("axis", -1), rank);
  const ValueId depth = to_scalar(n, n.cast(n.input(1), DType::i64));
  const ValueId picked = n.add(
      Reshape{}, {n.cast(x, DType::i64),
                  n.add(Concat{0}, {n.add(ShapeOf{0, axis}, {x}), n.ints({1}), n.add(ShapeOf{axis, INT64_MAX}, {x})})});
  const auto value = [&](int64_t k) { return n.add(Gather{0}, {values, n.constant(Tensor::scalar(k))}); };
  const ValueId off = value(0), on = value(1);
  if (n.failed()) return;
  const DType type = n.type(values).dtype;
  if (type == DType::string) return n.unsupported("values of type string");
  Formula f;
  const Expr index = f.input(DType::i64), place = f.input(DType::i64), count = f.input(DType::i64);
  const Expr yes = f.input(type), no = f.input(type);
  // A negative index counts from the end; one out of range matches no place.
  const Expr wrapped = where(apply(Fn::less, index, 0), index + count, index);
  const ValueId places = along(n, range(n, depth), axis, rank);
  n.output(0,
           n.pointwise(f.program(where(apply(Fn::equal, wrapped, place), yes, no)), {picked, places, depth, on, off}));
}

void import_det(NodeImport& n) { n.output(0, n.add(Det{}, {n.input(0)})); }

}  // namespace

std::span<const ImporterRow> select_importers() {
  static constexpr ImporterRow kRows[] = {
      {"TopK", import_top_k},
      {"Unique", import_unique},
      {"NonZero", import_non_zero},
      {"NonMaxSuppression", import_non_max_suppression},
      {"CumSum", import_cumulate<false>},
      {"CumProd", import_cumulate<true>},
      {"Compress", import_compress},
      {"ReverseSequence", import_reverse_sequence},
      {"TensorScatter", import_tensor_scatter},
      {"OneHot", import_one_hot},
      {"Det", import_det},
  };
  return kRows;
}

}  // namespace hone::import_onnx
