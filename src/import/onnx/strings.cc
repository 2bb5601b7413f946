#include "ops/strings.h"

#include "import/onnx/importer.h"

namespace hone::import_onnx {
namespace {

void import_concat(NodeImport& n) { n.output(0, n.add(StringConcat{}, n.inputs())); }

void import_split(NodeImport& n) {
  const StringSplit op{.delimiter = n.s("delimiter"), .max_split = n.i("maxsplit", -1)};
  const auto values = n.add(op, {n.input(0)}, 2);
  n.output(0, values[0]);
  n.output(1, values[1]);
}

void import_regex(NodeImport& n) {
  if (!n.has("pattern")) return n.invalid("attribute 'pattern' is missing");
  n.output(0, n.add(RegexFullMatch{.pattern = n.s("pattern")}, {n.input(0)}));
}

void import_normalizer(NodeImport& n) {
  const std::string locale = n.s("locale", "en_US");
  // Case is changed as Unicode has it, without the exceptions that some languages make.
  if (locale.starts_with("tr") || locale.starts_with("az") || locale.starts_with("lt"))
    return n.unsupported("locale '{}'", locale);
  const StringNormalizer op{.change = n.s("case_change_action", "NONE"),
                            .case_sensitive = n.i("is_case_sensitive", 0) != 0,
                            .stop_words = n.strings("stopwords")};
  n.output(0, n.add(op, {n.input(0)}));
}

// Opset 19 lets strings be compared; everything else is elementwise.
void import_equal(NodeImport& n) {
  const DType a = n.type(n.input(0)).dtype, b = n.type(n.input(1)).dtype;
  if (a != b) return n.invalid("inputs are {} and {}", name(a), name(b));
  n.output(0, a == DType::string ? n.add(StringEqual{}, n.inputs()) : n.pointwise(Fn::equal, n.inputs()));
}

Tensor string_vector(std::vector<std::string> values) {
  const Dims dims{static_cast<int64_t>(values.size())};
  return Tensor::strings(dims, std::move(values));
}

void import_tf_idf(NodeImport& n) {
  for (const char* required :
       {"mode", "min_gram_length", "max_gram_length", "max_skip_count", "ngram_counts", "ngram_indexes"})
    if (!n.has(required)) return n.invalid("attribute '{}' is missing", required);
  if (n.has("pool_strings") == n.has("pool_int64s")) return n.invalid("one of pool_strings and pool_int64s is needed");
  const TfIdf op{.mode = n.s("mode"),
                 .min_length = n.i("min_gram_length"),
                 .max_length = n.i("max_gram_length"),
                 .max_skip = n.i("max_skip_count"),
                 .counts = n.ints("ngram_counts"),
                 .indexes = n.ints("ngram_indexes"),
                 .weights = n.floats("weights")};
  const Tensor pool =
      n.has("pool_strings") ? string_vector(n.strings("pool_strings")) : Tensor::vector(n.ints("pool_int64s"));
  n.output(0, n.add(op, {n.input(0), n.constant(pool)}));
}

}  // namespace

std::span<const ImporterRow> strings_importers() {
  static constexpr ImporterRow kRows[] = {
      {"StringConcat", import_concat, 20},   {"StringSplit", import_split, 20},
      {"RegexFullMatch", import_regex, 20},  {"StringNormalizer", import_normalizer, 10},
      {"TfIdfVectorizer", import_tf_idf, 9}, {"Equal", import_equal, 19},
  };
  return kRows;
}

}  // namespace hone::import_onnx
