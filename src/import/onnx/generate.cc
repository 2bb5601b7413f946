#include "ops/generate.h"

#include <array>
#include <numbers>

#include "import/onnx/expr.h"
#include "import/onnx/importer.h"
#include "import/onnx/positions.h"
#include "ops/movement.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace hone::import_onnx {
namespace {

void import_range(NodeImport& n) {
  n.ignore({"stash_type"});  // the reference counts in doubles
  n.output(0, n.add(Range{}, {to_scalar(n, n.input(0)), to_scalar(n, n.input(1)), to_scalar(n, n.input(2))}));
}

// Positions of the rows and columns of x's matrices, and the diagonal's offset `k`, for a program over the three.
std::vector<ValueId> diagonal_inputs(NodeImport& n, ValueId x, int64_t rank, ValueId k) {
  return {along(n, range(n, dim_of(n, x, rank - 2)), 0, 2), along(n, range(n, dim_of(n, x, rank - 1)), 1, 2), k};
}

void import_eye_like(NodeImport& n) {
  const ValueId x = n.input(0);
  if (n.rank(x) != 2) return n.invalid("the input is {}, not a matrix", to_text(n.type(x)));
  Formula f;
  const Expr row = f.input(DType::i64), column = f.input(DType::i64), k = f.input(DType::i64);
  const Expr one = cast(apply(Fn::equal, row + k, column), n.dtype("dtype", n.type(x).dtype));
  n.output(0, n.pointwise(f.program(one), diagonal_inputs(n, x, 2, n.constant(Tensor::scalar(n.i("k"))))));
}

void import_trilu(NodeImport& n) {
  const ValueId x = n.input(0);
  const int64_t rank = n.rank(x);
  if (rank < 2) return n.invalid("the input is {}, not a matrix", to_text(n.type(x)));
  const ValueId k = n.has_input(1) ? to_scalar(n, n.input(1)) : n.constant(Tensor::scalar(int64_t{0}));
  if (n.failed()) return;
  if (n.type(x).dtype == DType::string) return n.unsupported("inputs of type string");
  const bool upper = n.i("upper", 1) != 0;
  Formula f;
  const Expr row = f.input(DType::i64), column = f.input(DType::i64), offset = f.input(DType::i64);
  const Expr value = f.input(n.type(x).dtype);
  const Expr kept = apply(upper ? Fn::less_equal : Fn::greater_equal, row + offset, column);
  auto inputs = diagonal_inputs(n, x, rank, k);
  inputs.push_back(x);
  n.output(0, n.pointwise(f.program(where(kept, value, value.like(0))), std::move(inputs)));
}

Random random(NodeImport& n, std::string kind, double a, double b, DType dtype) {
  return {std::move(kind), a, b, dtype, n.has("seed"), n.f("seed")};
}

Random normal(NodeImport& n, DType dtype) { return random(n, "normal", n.f("mean", 0), n.f("scale", 1), dtype); }
Random uniform(NodeImport& n, DType dtype) { return random(n, "uniform", n.f("low", 0), n.f("high", 1), dtype); }

template <auto distribution>
void import_random(NodeImport& n) {
  if (!n.has("shape")) return n.invalid("attribute 'shape' is missing");
  n.output(0, n.add(distribution(n, n.dtype("dtype", DType::f32)), {n.ints(n.ints("shape"))}));
}

template <auto distribution>
void import_random_like(NodeImport& n) {
  const ValueId x = n.input(0);
  const DType dtype = n.dtype("dtype", n.failed() ? DType::f32 : n.type(x).dtype);
  n.output(0, n.add(distribution(n, dtype), {n.add(ShapeOf{}, {x})}));
}

// 1 where a uniform number lies below the input's probability.
void import_bernoulli(NodeImport& n) {
  const ValueId x = n.input(0);
  if (n.failed()) return;
  const DType type = n.type(x).dtype;
  const ValueId draw = n.add(random(n, "uniform", 0, 1, type), {n.add(ShapeOf{}, {x})});
  Formula f;
  const Expr number = f.input(type), probability = f.input(type);
  const Expr result = cast(apply(Fn::less, number, probability), n.dtype("dtype", type));
  n.output(0, n.pointwise(f.program(result), {draw, x}));
}

// The dropout of training: elements stay with probability 1 - ratio and are scaled by its reciprocal.
void output_training_dropout(NodeImport& n, ValueId training) {
  const ValueId x = n.input(0);
  if (n.failed()) return;
  const DType type = n.type(x).dtype;
  const ValueId ratio = n.has_input(1) ? n.cast(n.input(1), type) : n.scalar(0.5, type);
  const Random numbers{"uniform", 0, 1, type, n.has("seed"), static_cast<double>(n.i("seed"))};
  const std::vector<ValueId> inputs{n.add(numbers, {n.add(ShapeOf{}, {x})}), ratio, training, x};
  const auto terms = [&](Formula& f) {
    return std::array{f.input(type), f.input(type), f.input(DType::boolean), f.input(type)};
  };
  const auto kept = [](const auto& t) {
    return apply(Fn::logical_or, apply(Fn::greater_equal, t[0], t[1]), apply(Fn::logical_not, t[2]));
  };
  Formula f, g;
  const auto t = terms(f), u = terms(g);
  const Expr scale = where(t[2], t[1].like(1) / (t[1].like(1) - t[1]), t[1].like(1));
  n.output(0, n.pointwise(f.program(where(kept(t), t[3] * scale, t[3].like(0))), inputs));
  if (n.has_output(1)) n.output(1, n.pointwise(g.program(kept(u)), inputs));
}

void import_dropout(NodeImport& n) {
  const ValueId x = n.input(0);
  n.ignore({"ratio", "seed"});  // of training
  if (n.opset() < 7 && n.i("is_test") == 0) return n.unsupported("training: is_test is 0");
  if (n.has_input(2)) {
    const Tensor& training = n.constant(n.input(2));
    if (!training.defined() || training.count() != 1 || training.at(0) != 0)
      return output_training_dropout(n, n.input(2));
  }
  n.output(0, x);
  if (!n.has_output(1) || n.failed()) return;
  const DType mask = n.opset() < 10 ? n.type(x).dtype : DType::boolean;
  n.output(1, n.add(Expand{}, {n.scalar(1, mask), n.add(ShapeOf{}, {x})}));
}

// Samples of a categorical distribution: the largest of the log probabilities, each with Gumbel noise added.
void import_multinomial(NodeImport& n) {
  const ValueId x = n.input(0);
  const int64_t samples = n.i("sample_size", 1);
  const DType dtype = n.dtype("dtype", DType::i32);
  if (samples < 1) return n.invalid("sample_size is {}", samples);
  if (dtype != DType::i32 && dtype != DType::i64) return n.invalid("samples of {}", name(dtype));
  if (n.rank(x) != 2) return n.invalid("the input is {}, not [batch, classes]", to_text(n.type(x)));
  const ValueId batch = n.add(ShapeOf{0, 1}, {x}), classes = n.add(ShapeOf{1, 2}, {x});
  const ValueId shape = n.add(Concat{0}, {batch, n.ints({samples}), classes});
  const ValueId draw = n.add(random(n, "uniform", 0, 1, DType::f64), {shape});
  const ValueId logits = n.add(Reshape{}, {n.cast(x, DType::f64), n.add(Concat{0}, {batch, n.ints({1}), classes})});
  Formula f;
  const Expr number = f.input(DType::f64), logit = f.input(DType::f64);
  const Expr noisy = logit - apply(Fn::log, apply(Fn::neg, apply(Fn::log, number)));
  const ValueId picked =
      n.add(ArgReduce{.axis = 2, .keep_dims = false}, {n.pointwise(f.program(noisy), {draw, logits})});
  n.output(0, n.cast(picked, dtype));
}

// c0 - c1 cos(2 pi i / N) + c2 cos(4 pi i / N) for i < size, where N is size, or size - 1 when not periodic.
void output_window(NodeImport& n, double c0, double c1, double c2) {
  const ValueId size = to_scalar(n, n.cast(n.input(0), DType::i64));
  const bool periodic = n.i("periodic", 1) != 0;
  Formula f;
  const Expr index = cast(f.input(DType::i64), DType::f64), count = cast(f.input(DType::i64), DType::f64);
  const Expr turn = index * (2 * std::numbers::pi) / (periodic ? count : count - 1);
  Expr window = apply(Fn::neg, c1 * apply(Fn::cos, turn)) + c0;
  if (c2 != 0) window = window + c2 * apply(Fn::cos, 2 * turn);
  window = cast(window, n.dtype("output_datatype", DType::f32));
  n.output(0, n.pointwise(f.program(window), {range(n, size), size}));
}

void import_hann_window(NodeImport& n) { output_window(n, 0.5, 0.5, 0); }
void import_hamming_window(NodeImport& n) { output_window(n, 25.0 / 46, 21.0 / 46, 0); }
void import_blackman_window(NodeImport& n) { output_window(n, 0.42, 0.5, 0.08); }

void import_mel_weight_matrix(NodeImport& n) {
  n.output(0, n.add(MelWeights{n.dtype("output_datatype", DType::f32)}, n.inputs()));
}

}  // namespace

std::span<const ImporterRow> generate_importers() {
  static constexpr ImporterRow kRows[] = {
      {"Range", import_range},
      {"EyeLike", import_eye_like},
      {"Trilu", import_trilu},
      {"RandomNormal", import_random<normal>},
      {"RandomNormalLike", import_random_like<normal>},
      {"RandomUniform", import_random<uniform>},
      {"RandomUniformLike", import_random_like<uniform>},
      {"Bernoulli", import_bernoulli},
      {"Multinomial", import_multinomial},
      {"Dropout", import_dropout},
      {"HannWindow", import_hann_window},
      {"HammingWindow", import_hamming_window},
      {"BlackmanWindow", import_blackman_window},
      {"MelWeightMatrix", import_mel_weight_matrix},
  };
  return kRows;
}

}  // namespace hone::import_onnx
