#include "base/counted.h"
#include "import/onnx/importer.h"
#include "ops/gather.h"
#include "ops/movement.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace hone::import_onnx {
namespace {

constexpr std::string_view kTraining = "ai.onnx.preview.training";

ValueId binary(NodeImport& n, Fn fn, ValueId a, ValueId b) { return n.pointwise(fn, {a, b}); }

// x[N, d...] as x[N, 1, d...], whatever is known of its shape.
ValueId with_class_dim(NodeImport& n, ValueId x) {
  const ValueId batch = n.add(ShapeOf{.start = 0, .end = 1}, {x}), rest = n.add(ShapeOf{.start = 1}, {x});
  return n.add(Reshape{}, {x, n.add(Concat{.axis = 0}, {batch, n.ints({1}), rest})});
}

ValueId without_class_dim(NodeImport& n, ValueId x, ValueId like) {
  return n.add(Reshape{}, {x, n.add(ShapeOf{}, {like})});
}

ValueId sum_all(NodeImport& n, ValueId x) { return n.add(Reduce{.kind = "sum", .keep_dims = false}, {x}); }

// -log_prob[n, labels[n, d...], d...], weighted by class, zero for ignored labels, then reduced.
void negative_log_likelihood(NodeImport& n, ValueId log_prob, ValueId labels, ValueId weights) {
  const std::string reduction = n.s("reduction", "mean");
  if (reduction != "none" && reduction != "sum" && reduction != "mean")
    return n.invalid("there is no reduction '{}'", reduction);
  const DType type = n.type(log_prob).dtype;
  ValueId ignored = ValueId::none, index = labels;
  if (n.has("ignore_index")) {
    const DType index_type = n.type(labels).dtype;
    ignored = binary(n, Fn::equal, labels, n.scalar(static_cast<double>(n.i("ignore_index")), index_type));
    index = n.pointwise(Fn::where, {ignored, n.scalar(0, index_type), labels});
  }
  const ValueId picked = n.add(GatherElements{.axis = 1}, {log_prob, with_class_dim(n, index)});
  ValueId loss = n.pointwise(Fn::neg, {without_class_dim(n, picked, labels)});

  ValueId weight = ValueId::none;
  if (weights != ValueId::none) weight = n.add(Gather{.axis = 0}, {weights, index});
  else if (ignored != ValueId::none) weight = n.add(Expand{}, {n.scalar(1, type), n.add(ShapeOf{}, {labels})});
  if (ignored != ValueId::none) weight = n.pointwise(Fn::where, {ignored, n.scalar(0, type), weight});
  if (weight != ValueId::none) {
    loss = binary(n, Fn::mul, loss, weight);
    // An ignored element adds nothing even where its probability is 0.
    if (ignored != ValueId::none) loss = n.pointwise(Fn::where, {ignored, n.scalar(0, type), loss});
  }
  if (reduction == "none") return n.output(0, loss);
  if (reduction == "sum") return n.output(0, sum_all(n, loss));
  if (weight == ValueId::none) return n.output(0, n.add(Reduce{.kind = "mean", .keep_dims = false}, {loss}));
  n.output(0, binary(n, Fn::div, sum_all(n, loss), sum_all(n, weight)));
}

void import_nll(NodeImport& n) { negative_log_likelihood(n, n.input(0), n.input(1), n.input(2)); }

void import_softmax_loss(NodeImport& n) {
  const ValueId log_prob = n.add(Softmax{.axis = 1, .log = true}, {n.input(0)});
  negative_log_likelihood(n, log_prob, n.input(1), n.input(2));
  n.output(1, log_prob);
}

// One tensor on its way through an optimiser: inputs are R, T, then all tensors, their gradients, their states...
struct Update {
  NodeImport& n;
  DType type;
  ValueId rate, count;  // R and T, in the tensors' type

  ValueId number(double v) const { return n.scalar(v, type); }
  ValueId scaled(double factor, ValueId x) const { return factor == 1 ? x : binary(n, Fn::mul, number(factor), x); }
  // gradient + norm * x
  ValueId regularised(double norm, ValueId x, ValueId gradient) const {
    return norm == 0 ? gradient : binary(n, Fn::add, scaled(norm, x), gradient);
  }
  ValueId started() const { return binary(n, Fn::greater, count, number(0)); }
};

using Step = std::vector<ValueId> (*)(const Update&, const std::vector<ValueId>& tensor);

// Applies `step` to each of the tensors with its gradient and states; `group` is how many values a tensor comes with.
void optimise(NodeImport& n, size_t group, Step step) {
  if (n.input_count() < 2 + group || (n.input_count() - 2) % group != 0)
    return n.invalid("{}: R, T, then {} for each tensor", counted(n.input_count(), "input"), group);
  const size_t tensors = (n.input_count() - 2) / group;
  for (size_t t = 0; t < tensors; ++t) {
    std::vector<ValueId> tensor;
    for (size_t g = 0; g < group; ++g) tensor.push_back(n.input(2 + g * tensors + t));
    const DType type = n.type(tensor[0]).dtype;
    const auto results = step({n, type, n.cast(n.input(0), type), n.cast(n.input(1), type)}, tensor);
    for (size_t k = 0; k < results.size(); ++k) n.output(k * tensors + t, results[k]);
  }
}

std::vector<ValueId> adagrad_step(const Update& u, const std::vector<ValueId>& tensor) {
  NodeImport& n = u.n;
  const ValueId decay = binary(n, Fn::add, u.number(1), u.scaled(n.f("decay_factor", 0), u.count));
  const ValueId rate = binary(n, Fn::div, u.rate, decay);
  const ValueId gradient = u.regularised(n.f("norm_coefficient", 0), tensor[0], tensor[1]);
  const ValueId squares = binary(n, Fn::add, tensor[2], n.pointwise(Fn::square, {gradient}));
  const ValueId adaptive = binary(n, Fn::add, n.pointwise(Fn::sqrt, {squares}), u.number(n.f("epsilon", 1e-6)));
  const ValueId change = binary(n, Fn::div, binary(n, Fn::mul, rate, gradient), adaptive);
  return {binary(n, Fn::sub, tensor[0], change), squares};
}

std::vector<ValueId> adam_step(const Update& u, const std::vector<ValueId>& tensor) {
  NodeImport& n = u.n;
  const double alpha = n.f("alpha", 0.9f), beta = n.f("beta", 0.999f);
  const ValueId gradient = u.regularised(n.f("norm_coefficient", 0), tensor[0], tensor[1]);
  const ValueId mean = binary(n, Fn::add, u.scaled(alpha, tensor[2]), u.scaled(1 - alpha, gradient));
  const ValueId squares =
      binary(n, Fn::add, u.scaled(beta, tensor[3]), u.scaled(1 - beta, n.pointwise(Fn::square, {gradient})));
  const ValueId root = binary(n, Fn::add, n.pointwise(Fn::sqrt, {squares}), u.number(n.f("epsilon", 1e-6)));
  const auto rest = [&](double base) {
    return binary(n, Fn::sub, u.number(1), binary(n, Fn::pow, u.number(base), u.count));
  };
  const ValueId corrected =
      binary(n, Fn::div, binary(n, Fn::mul, u.rate, n.pointwise(Fn::sqrt, {rest(beta)})), rest(alpha));
  const ValueId rate = n.pointwise(Fn::where, {u.started(), corrected, u.rate});
  const ValueId change = binary(n, Fn::div, binary(n, Fn::mul, rate, mean), root);
  const ValueId moved = binary(n, Fn::sub, tensor[0], change);
  return {u.scaled(1 - n.f("norm_coefficient_post", 0), moved), mean, squares};
}

std::vector<ValueId> momentum_step(const Update& u, const std::vector<ValueId>& tensor) {
  NodeImport& n = u.n;
  const double alpha = n.f("alpha");
  const ValueId gradient = u.regularised(n.f("norm_coefficient"), tensor[0], tensor[1]);
  const ValueId beta = n.pointwise(Fn::where, {u.started(), u.number(n.f("beta")), u.number(1)});
  const ValueId momentum = binary(n, Fn::add, u.scaled(alpha, tensor[2]), binary(n, Fn::mul, beta, gradient));
  const ValueId direction =
      n.s("mode") == "nesterov" ? binary(n, Fn::add, gradient, u.scaled(alpha, momentum)) : momentum;
  return {binary(n, Fn::sub, tensor[0], binary(n, Fn::mul, u.rate, direction)), momentum};
}

void import_adagrad(NodeImport& n) { optimise(n, 3, adagrad_step); }
void import_adam(NodeImport& n) { optimise(n, 4, adam_step); }

void import_momentum(NodeImport& n) {
  for (const char* required : {"alpha", "beta", "mode", "norm_coefficient"})
    if (!n.has(required)) return n.invalid("attribute '{}' is missing", required);
  const std::string mode = n.s("mode");
  if (mode != "standard" && mode != "nesterov") return n.invalid("there is no mode '{}'", mode);
  optimise(n, 3, momentum_step);
}

}  // namespace

std::span<const ImporterRow> training_importers() {
  static constexpr ImporterRow kRows[] = {
      {"NegativeLogLikelihoodLoss", import_nll, 12}, {"SoftmaxCrossEntropyLoss", import_softmax_loss, 12},
      {"Adagrad", import_adagrad, 1, kTraining},     {"Adam", import_adam, 1, kTraining},
      {"Momentum", import_momentum, 1, kTraining},
  };
  return kRows;
}

}  // namespace hone::import_onnx
