#include "ops/norm.h"

#include <cmath>
#include <numeric>

#include "base/counted.h"
#include "import/onnx/formula.h"
#include "import/onnx/importer.h"
#include "ops/lrn.h"
#include "ops/movement.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace hone::import_onnx {
namespace {

// [C] as [C, 1, ...], to broadcast along axis 1 of a tensor of this rank.
ValueId along_channels(NodeImport& n, ValueId v, int64_t rank) {
  if (rank <= 2) return v;
  std::vector<int64_t> dims(static_cast<size_t>(rank - 1), 1);
  dims[0] = -1;
  return n.reshape(v, dims);
}

// Before opset 13 the dims from `axis` on count as one. Applies `body(x, axis)` to that view.
void over_flattened(NodeImport& n, auto&& body) {
  const ValueId x = n.input(0);
  if (n.opset() >= 13) return n.output(0, body(x, n.i("axis", -1)));
  const Shape& shape = n.type(x).shape;
  int64_t axis = n.i("axis", 1);
  if (axis < 0 || shape.ranked) axis = n.axis(axis, n.rank(x));
  bool one_dim = shape.ranked;  // the flattened dims hold one that matters, the first
  for (size_t i = static_cast<size_t>(axis) + 1; i < shape.dims.size(); ++i) one_dim &= shape.dims[i] == Dim(1);
  if (n.failed() || one_dim) return n.output(0, body(x, axis));
  std::vector<int64_t> flat(static_cast<size_t>(axis) + 1, 0);
  flat.back() = -1;
  const ValueId result = body(n.reshape(x, flat), int64_t{-1});
  n.output(0, n.add(Reshape{}, {result, n.add(ShapeOf{}, {x})}));
}

void import_softmax(NodeImport& n) {
  over_flattened(n, [&](ValueId x, int64_t axis) { return n.add(Softmax{.axis = axis}, {x}); });
}

void import_log_softmax(NodeImport& n) {
  over_flattened(n, [&](ValueId x, int64_t axis) { return n.add(Softmax{.axis = axis, .log = true}, {x}); });
}

// One where the index along the axis is that of the first maximum.
void import_hardmax(NodeImport& n) {
  over_flattened(n, [&](ValueId x, int64_t axis) {
    const int64_t rank = n.rank(x);
    axis = n.axis(axis, rank);
    const Dim size = !n.failed() && rank > 0 ? n.type(x).shape.dims[static_cast<size_t>(axis)] : Dim(1);
    if (!size.known()) n.unsupported("the size of axis {} is not known", axis);
    if (n.failed()) return ValueId::none;
    std::vector<int64_t> index(static_cast<size_t>(size.value));
    std::iota(index.begin(), index.end(), 0);
    Dims dims(static_cast<size_t>(rank - axis), 1);
    dims[0] = size.value;
    const ValueId top = n.add(ArgReduce{.axis = axis}, {x});
    const ValueId here = n.constant(Tensor::of<int64_t>(DType::i64, dims, index));
    return n.cast(n.pointwise(Fn::equal, {top, here}), n.type(x).dtype);
  });
}

// (x - mean) * (scale / sqrt(var + epsilon)) + bias in f32 or wider.
ValueId normalise(NodeImport& n, ValueId x, const std::vector<ValueId>& params, double epsilon) {
  const DType type = n.type(x).dtype;
  const DType wide = type == DType::f64 ? DType::f64 : DType::f32;
  std::vector<ValueId> inputs{x};
  for (ValueId p : params) inputs.push_back(n.cast(p, wide));
  const std::string text = fmt::format(
      "in0:{0}; in1:{1}; in2:{1}; in3:{1}; in4:{1}; constant:{1}({2}); cast:{1}(0); add:{1}(4,5); sqrt:{1}(7); "
      "div:{1}(1,8); sub:{1}(6,3); mul:{1}(10,9); add:{1}(11,2); cast:{0}(12)",
      name(type), name(wide), epsilon);
  return n.failed() ? ValueId::none : formula(n, text, inputs);
}

// With constant parameters: x * a + b, where a and b are worked out in double.
bool normalise_by_constants(NodeImport& n, ValueId x, const std::vector<ValueId>& params, double epsilon,
                            int64_t rank) {
  std::vector<std::vector<double>> values;
  for (ValueId p : params) {
    if (!n.constant(p).defined()) return false;
    values.push_back(n.constant(p).to_doubles());
    if (values.back().size() != values[0].size()) return false;
  }
  const DType type = n.type(x).dtype;
  const DType wide = type == DType::f64 ? DType::f64 : DType::f32;
  Dims dims(static_cast<size_t>(std::max<int64_t>(rank - 1, 1)), 1);
  dims[0] = static_cast<int64_t>(values[0].size());
  Tensor factor(wide, dims), offset(wide, dims);
  for (size_t i = 0; i < values[0].size(); ++i) {
    const double a = values[0][i] / std::sqrt(values[3][i] + epsilon);
    factor.set(static_cast<int64_t>(i), a);
    offset.set(static_cast<int64_t>(i), values[1][i] - values[2][i] * a);
  }
  const std::string text =
      type == wide ? fmt::format("in0:{0}; in1:{0}; in2:{0}; mul:{0}(0,1); add:{0}(3,2)", name(type))
                   : fmt::format("in0:{0}; in1:{1}; in2:{1}; cast:{1}(0); mul:{1}(3,1); add:{1}(4,2); cast:{0}(5)",
                                 name(type), name(wide));
  n.output(0, formula(n, text, {x, n.constant(factor), n.constant(offset)}));
  return true;
}

// Statistics of the batch itself; the running ones move towards them.
void batch_norm_training(NodeImport& n, int64_t rank, double epsilon) {
  const ValueId x = n.input(0);
  std::vector<int64_t> axes{0};
  for (int64_t i = 2; i < rank; ++i) axes.push_back(i);
  const ValueId wide = n.cast(x, n.type(x).dtype == DType::f64 ? DType::f64 : DType::f32);
  const ValueId mean = n.add(Reduce{.kind = "mean"}, {wide, n.ints(axes)});
  const ValueId variance =
      n.add(Reduce{.kind = "mean"}, {n.pointwise(Fn::square, {n.pointwise(Fn::sub, {wide, mean})}), n.ints(axes)});
  n.output(0,
           normalise(n, x, {along_channels(n, n.input(1), rank), along_channels(n, n.input(2), rank), mean, variance},
                     epsilon));
  const double momentum = n.f("momentum", 0.9);
  for (size_t k = 1; k < 3; ++k) {
    if (n.failed() || !n.has_output(k)) continue;
    const ValueId running = n.input(k + 2), current = n.reshape(k == 1 ? mean : variance, {-1});
    const DType type = n.type(running).dtype;
    const std::string text =
        fmt::format("in0:{0}; in1:{0}; constant:{0}({1}); constant:{0}({2}); mul:{0}(0,2); mul:{0}(1,3); add:{0}(4,5)",
                    name(type), momentum, 1 - momentum);
    n.output(k, formula(n, text, {running, n.cast(current, type)}));
  }
}

void import_batch_normalization(NodeImport& n) {
  const ValueId x = n.input(0);
  const double epsilon = n.f("epsilon", 1e-5);
  n.ignore({"momentum"});  // of training
  const int64_t rank = n.rank(x);
  if (n.i("spatial", 1) == 0) return n.unsupported("attribute spatial = 0");
  if (n.opset() < 7 && n.i("is_test") == 0) return n.unsupported("training: is_test is 0");
  if (n.failed()) return;
  if (n.i("training_mode") != 0) return batch_norm_training(n, rank, epsilon);
  for (size_t k = 1; k < n.output_count(); ++k)
    if (n.has_output(k)) return n.unsupported("training outputs");
  std::vector<ValueId> params{n.input(1), n.input(2), n.input(3), n.input(4)};
  if (normalise_by_constants(n, x, params, epsilon, rank)) return;
  for (ValueId& p : params) p = along_channels(n, p, rank);
  n.output(0, normalise(n, x, params, epsilon));
}

// The type that stash_type names, for the statistics; all arithmetic here is at least as precise.
DType stash_type(NodeImport& n) {
  const DType type = n.dtype("stash_type", DType::f32);
  if (!is_float(type)) n.invalid("stash_type is {}", name(type));
  return type;
}

void import_layer_normalization(NodeImport& n) {
  const DType stash = stash_type(n);
  const size_t outputs = n.has_output(2) ? 3 : n.has_output(1) ? 2 : 1;
  std::vector<ValueId> inputs{n.input(0), n.input(1)};
  if (n.has_input(2)) inputs.push_back(n.input(2));
  const auto results = n.add(LayerNorm{.axis = n.i("axis", -1), .epsilon = n.f("epsilon", 1e-5)}, inputs, outputs);
  if (n.failed()) return;
  n.output(0, results[0]);
  for (size_t k = 1; k < outputs; ++k) n.output(k, n.cast(results[k], stash));
}

// The scale may be of another type than x; the result has the scale's.
void import_rms_normalization(NodeImport& n) {
  stash_type(n);
  ValueId x = n.input(0), scale = n.input(1);
  const LayerNorm op{.axis = n.i("axis", -1), .epsilon = n.f("epsilon", 1e-5), .rms = true};
  const DType from = n.type(x).dtype, to = n.type(scale).dtype;
  if (from != to) {
    const DType wide = from == DType::f64 || to == DType::f64 ? DType::f64 : DType::f32;
    x = n.cast(x, wide);
    scale = n.cast(scale, wide);
  }
  n.output(0, n.cast(n.add(op, {x, scale}), to));
}

void import_instance_normalization(NodeImport& n) {
  n.output(0, n.add(GroupNorm{.epsilon = n.f("epsilon", 1e-5)}, {n.input(0), n.input(1), n.input(2)}));
}

// Opset 18 gives scale and bias for each group, later ones for each channel.
void import_group_normalization(NodeImport& n) {
  stash_type(n);
  const ValueId x = n.input(0);
  const int64_t groups = n.i("num_groups");
  if (groups < 1) return n.invalid("num_groups is {}", groups);
  std::vector<ValueId> inputs{x, n.input(1), n.input(2)};
  if (n.opset() < 21) {
    const Shape& shape = n.type(x).shape;
    if (shape.rank() < 2 || !shape.dims[1].known())
      return n.unsupported("the number of channels of {} is not known", to_text(n.type(x)));
    const int64_t channels = shape.dims[1].value;
    if (channels % groups != 0)
      return n.invalid("{} do not divide into {}", counted(channels, "channel"), counted(groups, "group"));
    for (size_t k = 1; k < 3; ++k) {
      const ValueId rows = n.add(Expand{}, {n.reshape(inputs[k], {groups, 1}), n.ints({groups, channels / groups})});
      inputs[k] = n.reshape(rows, {channels});
    }
  }
  n.output(0, n.add(GroupNorm{.groups = groups, .epsilon = n.f("epsilon", 1e-5)}, inputs));
}

void import_lp_normalization(NodeImport& n) {
  const ValueId x = n.input(0);
  const int64_t p = n.i("p", 2);
  if (p != 1 && p != 2) return n.invalid("p is {}", p);
  const ValueId norm = n.add(Reduce{.kind = p == 1 ? "l1" : "l2"}, {x, n.ints({n.i("axis", -1)})});
  if (n.failed()) return;
  const std::string text =
      fmt::format("in0:{0}; in1:{0}; constant:{0}(0); equal:{1}(1,2); div:{0}(0,1); where:{0}(3,2,4)",
                  name(n.type(x).dtype), name(DType::boolean));
  n.output(0, formula(n, text, {x, norm}));
}

void import_mean_variance_normalization(NodeImport& n) {
  const ValueId x = n.input(0);
  const ValueId axes = n.ints(n.ints("axes", {0, 2, 3}));
  const ValueId centred = n.pointwise(Fn::sub, {x, n.add(Reduce{.kind = "mean"}, {x, axes})});
  const ValueId variance = n.add(Reduce{.kind = "mean"}, {n.pointwise(Fn::square, {centred}), axes});
  if (n.failed()) return;
  const std::string text = fmt::format("in0:{0}; in1:{0}; constant:{0}(1e-9); sqrt:{0}(1); add:{0}(3,2); div:{0}(0,4)",
                                       name(n.type(x).dtype));
  n.output(0, formula(n, text, {centred, variance}));
}

void import_lrn(NodeImport& n) {
  if (!n.has("size")) return n.invalid("attribute 'size' is missing");
  n.output(
      0,
      n.add(Lrn{.size = n.i("size"), .alpha = n.f("alpha", 1e-4f), .beta = n.f("beta", 0.75), .bias = n.f("bias", 1)},
            {n.input(0)}));
}

}  // namespace

std::span<const ImporterRow> norm_importers() {
  static constexpr ImporterRow kRows[] = {
      {"Softmax", import_softmax},
      {"LogSoftmax", import_log_softmax},
      {"Hardmax", import_hardmax},
      {"BatchNormalization", import_batch_normalization},
      {"LayerNormalization", import_layer_normalization},
      {"RMSNormalization", import_rms_normalization},
      {"InstanceNormalization", import_instance_normalization},
      {"GroupNormalization", import_group_normalization},
      {"LpNormalization", import_lp_normalization},
      {"MeanVarianceNormalization", import_mean_variance_normalization},
      {"LRN", import_lrn},
  };
  return kRows;
}

}  // namespace hone::import_onnx
