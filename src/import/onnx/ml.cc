#include <algorithm>
#include <cmath>

#include "base/counted.h"
#include "import/onnx/importer.h"
#include "import/onnx/scores.h"
#include "ops/gather.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/strings.h"

namespace hone::import_onnx {
namespace {

constexpr std::string_view kMl = "ai.onnx.ml";

ValueId binary(NodeImport& n, Fn fn, ValueId a, ValueId b) { return n.pointwise(fn, {a, b}); }

Tensor string_vector(std::vector<std::string> values) {
  const Dims dims{static_cast<int64_t>(values.size())};
  return Tensor::strings(dims, std::move(values));
}

Tensor float_vector(const std::vector<double>& values, DType type = DType::f32) {
  Tensor t(type, {static_cast<int64_t>(values.size())});
  for (size_t i = 0; i < values.size(); ++i) t.set(static_cast<int64_t>(i), values[i]);
  return t;
}

// The list that a LabelEncoder gives as KIND_tensor, KIND_strings, KIND_int64s or KIND_floats.
Tensor label_list(NodeImport& n, const std::string& kind) {
  const auto attr = [&](const char* suffix) { return kind + suffix; };
  if (n.has(attr("_tensor").c_str())) return n.tensor(attr("_tensor").c_str());
  if (n.has(attr("_strings").c_str())) return string_vector(n.strings(attr("_strings").c_str()));
  if (n.has(attr("_int64s").c_str())) return Tensor::vector(n.ints(attr("_int64s").c_str()));
  if (n.has(attr("_floats").c_str())) return float_vector(n.floats(attr("_floats").c_str()));
  n.invalid("one of the attributes {}_* is needed", kind);
  return {};
}

// What an unknown label becomes.
Tensor label_default(NodeImport& n, DType type) {
  n.ignore({"default_string", "default_int64", "default_float"});  // those of other types
  if (n.has("default_tensor")) return n.tensor("default_tensor");
  if (type == DType::string) return Tensor::strings({1}, {n.s("default_string", "_Unused")});
  if (type == DType::i64) return Tensor::scalar(n.i("default_int64", -1));
  if (type == DType::f32) return Tensor::scalar(n.f("default_float", -0.0));
  return Tensor::scalar(is_integer(type) ? -1.0 : -0.0, type);
}

void import_label_encoder(NodeImport& n) {
  const Tensor keys = label_list(n, "keys"), values = label_list(n, "values");
  if (n.failed()) return;
  const Tensor fallback = label_default(n, values.type());
  n.output(0, n.add(Lookup{}, {n.input(0), n.constant(keys), n.constant(values), n.constant(fallback)}));
}

// Opset 1 of the domain: a list of strings, the labels of which are their positions.
void import_label_encoder1(NodeImport& n) {
  const std::vector<std::string> classes = n.strings("classes_strings");
  if (classes.empty()) return n.invalid("attribute 'classes_strings' is missing");
  n.ignore({"default_string", "default_int64"});
  Tensor positions(DType::i64, {static_cast<int64_t>(classes.size())});
  for (int64_t i = 0; i < positions.count(); ++i) positions.set_int(i, i);
  const bool from_strings = n.type(n.input(0)).dtype == DType::string;
  const ValueId names = n.constant(string_vector(classes)), numbers = n.constant(positions);
  if (from_strings)
    return n.output(
        0, n.add(Lookup{}, {n.input(0), names, numbers, n.constant(Tensor::scalar(n.i("default_int64", -1)))}));
  n.output(0, n.add(Lookup{}, {n.input(0), numbers, names,
                               n.constant(Tensor::strings({1}, {n.s("default_string", "_Unused")}))}));
}

void import_category_mapper(NodeImport& n) {
  const Tensor names = string_vector(n.strings("cats_strings")), numbers = Tensor::vector(n.ints("cats_int64s"));
  const bool from_strings = n.type(n.input(0)).dtype == DType::string;
  const Tensor fallback = label_default(n, from_strings ? DType::i64 : DType::string);
  const ValueId from = n.constant(from_strings ? names : numbers), to = n.constant(from_strings ? numbers : names);
  n.output(0, n.add(Lookup{}, {n.input(0), from, to, n.constant(fallback)}));
}

// x[..., indices]; a vector counts as one row.
void import_feature_extractor(NodeImport& n) {
  const ValueId x = n.input(0), indices = n.reshape(n.input(1), {-1});
  const int64_t rank = n.rank(x);
  if (n.failed()) return;
  if (rank < 1) return n.invalid("input has rank 0");
  const ValueId rows = rank == 1 ? n.reshape(x, {1, -1}) : x;
  n.output(0, n.add(Gather{.axis = std::max<int64_t>(rank, 2) - 1}, {rows, indices}));
}

void import_binarizer(NodeImport& n) {
  const DType type = n.type(n.input(0)).dtype;
  n.output(0, n.cast(binary(n, Fn::greater, n.input(0), n.scalar(n.f("threshold", 0), type)), type));
}

// Along the last dim, in f32; where the divisor is 0 the input stays.
void import_normalizer(NodeImport& n) {
  const std::string norm = n.s("norm", "MAX");
  if (norm != "MAX" && norm != "L1" && norm != "L2") return n.invalid("there is no norm '{}'", norm);
  const ValueId x = n.cast(n.input(0), DType::f32);
  const char* kind = norm == "MAX" ? "max" : norm == "L1" ? "l1" : "l2";
  const ValueId size = n.add(Reduce{.kind = kind}, {x, n.ints({-1})});
  const ValueId zero = binary(n, Fn::equal, size, n.scalar(0, DType::f32));
  n.output(0, binary(n, Fn::div, x, n.pointwise(Fn::where, {zero, n.scalar(1, DType::f32), size})));
}

void import_scaler(NodeImport& n) {
  const std::vector<double> offset = n.floats("offset"), scale = n.floats("scale");
  ValueId x = n.cast(n.input(0), DType::f32);
  if (!offset.empty()) x = binary(n, Fn::sub, x, n.constant(float_vector(offset)));
  if (!scale.empty()) x = binary(n, Fn::mul, x, n.constant(float_vector(scale)));
  n.output(0, x);
}

void import_imputer(NodeImport& n) {
  const ValueId x = n.input(0);
  const DType type = n.type(x).dtype;
  const bool real = is_float(type);
  n.ignore({"imputed_value_floats", "replaced_value_float", "replaced_value_int64"});  // those of the other type
  const std::vector<int64_t> whole = n.ints("imputed_value_int64s");
  const std::vector<double> values =
      real ? n.floats("imputed_value_floats") : std::vector<double>(whole.begin(), whole.end());
  if (values.empty()) return n.invalid("there are no imputed values for {}", name(type));
  const double replaced = real ? n.f("replaced_value_float", 0) : static_cast<double>(n.i("replaced_value_int64", 0));
  const ValueId missing =
      std::isnan(replaced) ? n.pointwise(Fn::is_nan, {x}) : binary(n, Fn::equal, x, n.scalar(replaced, type));
  n.output(0, n.pointwise(Fn::where, {missing, n.constant(float_vector(values, type)), x}));
}

void import_feature_vectorizer(NodeImport& n) {
  std::vector<ValueId> parts;
  const std::vector<int64_t> widths = n.ints("inputdimensions");
  for (size_t k = 0; k < n.input_count(); ++k) {
    ValueId x = n.cast(n.input(k), DType::f32);
    const int64_t rank = n.rank(x);
    if (n.failed()) return;
    if (rank != 1 && rank != 2) return n.invalid("input {} has rank {}", k, rank);
    if (rank == 1) x = n.reshape(x, {1, -1});
    const Dim width = n.type(x).shape.dims[1];
    if (k < widths.size() && width.known() && width.value != widths[k])
      return n.invalid("input {} has {}, not {}", k, counted(width.value, "column"), widths[k]);
    parts.push_back(x);
  }
  if (parts.empty()) return n.invalid("there are no inputs");
  n.output(0, n.add(Concat{.axis = 1}, parts));
}

// The category's position compared with all positions, along a new last dim.
void import_one_hot_encoder(NodeImport& n) {
  const bool strings = n.has("cats_strings");
  const Tensor categories = strings ? string_vector(n.strings("cats_strings")) : Tensor::vector(n.ints("cats_int64s"));
  if (categories.count() == 0) return n.invalid("there are no categories");
  const ValueId x = strings ? n.input(0) : n.cast(n.input(0), DType::i64);
  Tensor positions(DType::i64, categories.dims());
  for (int64_t i = 0; i < positions.count(); ++i) positions.set_int(i, i);
  const ValueId all = n.constant(positions);
  const ValueId found = n.add(Lookup{.strict = n.i("zeros", 1) == 0},
                              {x, n.constant(categories), all, n.constant(Tensor::scalar(int64_t{-1}))});
  const ValueId grown = n.add(Concat{.axis = 0}, {n.add(ShapeOf{}, {x}), n.ints({1})});
  n.output(0, n.cast(binary(n, Fn::equal, n.add(Reshape{}, {found, grown}), all), DType::f32));
}

// x * coefficients' + intercepts, in f32 (f64 for f64): `targets` columns.
ValueId linear(NodeImport& n, size_t targets) {
  const std::vector<double> coefficients = n.floats("coefficients"), intercepts = n.floats("intercepts");
  if (targets == 0 || coefficients.empty() || coefficients.size() % targets != 0) {
    n.invalid("{} coefficients for {}", coefficients.size(), counted(targets, "target"));
    return ValueId::none;
  }
  const DType type = n.type(n.input(0)).dtype == DType::f64 ? DType::f64 : DType::f32;
  const auto rows = static_cast<int64_t>(targets), columns = static_cast<int64_t>(coefficients.size() / targets);
  const ValueId weights = n.constant(float_vector(coefficients, type).reshaped({rows, columns}));
  ValueId x = n.cast(n.input(0), type);
  if (n.rank(x) == 1) x = n.reshape(x, {1, -1});
  const ValueId scores = n.add(MatMul{.trans_b = true}, {x, weights});
  return intercepts.empty() ? scores : binary(n, Fn::add, scores, n.constant(float_vector(intercepts, type)));
}

void import_linear_regressor(NodeImport& n) {
  const ValueId scores = linear(n, static_cast<size_t>(std::max<int64_t>(n.i("targets", 1), 0)));
  n.output(0, post_transform(n, n.cast(scores, DType::f32), n.s("post_transform", "NONE")));
}

// One score a class; a single score of two classes is that of the second.
void import_linear_classifier(NodeImport& n) {
  n.ignore({"multi_class"});  // post_transform says what becomes of the scores
  const Tensor labels = n.has("classlabels_strings") ? string_vector(n.strings("classlabels_strings"))
                                                     : Tensor::vector(n.ints("classlabels_ints"));
  const auto classes = static_cast<size_t>(labels.count());
  if (classes < 2) return n.unsupported("{} class labels", classes);
  const bool single = n.floats("intercepts").size() == 1 && classes == 2;
  ValueId scores = n.cast(linear(n, single ? 1 : classes), DType::f32);
  if (single) scores = n.add(Concat{.axis = 1}, {n.pointwise(Fn::neg, {scores}), scores});
  scores = post_transform(n, scores, n.s("post_transform", "NONE"));
  const ValueId best = n.add(ArgReduce{.axis = 1, .keep_dims = false}, {scores});
  n.output(0, n.add(Gather{.axis = 0}, {n.constant(labels), best}));
  n.output(1, scores);
}

}  // namespace

std::span<const ImporterRow> ml_importers() {
  static constexpr ImporterRow kRows[] = {
      {"LabelEncoder", import_label_encoder1, 1, kMl},
      {"LabelEncoder", import_label_encoder, 2, kMl},
      {"CategoryMapper", import_category_mapper, 1, kMl},
      {"ArrayFeatureExtractor", import_feature_extractor, 1, kMl},
      {"Binarizer", import_binarizer, 1, kMl},
      {"Normalizer", import_normalizer, 1, kMl},
      {"Scaler", import_scaler, 1, kMl},
      {"Imputer", import_imputer, 1, kMl},
      {"FeatureVectorizer", import_feature_vectorizer, 1, kMl},
      {"OneHotEncoder", import_one_hot_encoder, 1, kMl},
      {"LinearRegressor", import_linear_regressor, 1, kMl},
      {"LinearClassifier", import_linear_classifier, 1, kMl},
  };
  return kRows;
}

}  // namespace hone::import_onnx
