#pragma once

#include "ir/op.h"

namespace hone {

// Ops on strings, which are UTF-8.

// cast_string(x): from strings to a number type, or from any type to strings. Numbers are written as short as they read
// back; "nan", "inf" and hexadecimal floats are read whatever their case.
struct CastString {
  static constexpr std::string_view kName = "CastString";
  DType to = DType::string;

  static void fields(auto& self, auto&& field) { field("to", self.to); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// a[i] + b[i], numpy broadcasting.
struct StringConcat {
  static constexpr std::string_view kName = "StringConcat";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// a[i] == b[i], numpy broadcasting.
struct StringEqual {
  static constexpr std::string_view kName = "StringEqual";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// Splits each string at `delimiter` (empty: at runs of white space), at most max_split times (negative: no limit).
// Outputs: the parts along a new last dim, filled up with empty strings, and their i64 number.
struct StringSplit {
  static constexpr std::string_view kName = "StringSplit";
  std::string delimiter;
  int64_t max_split = -1;

  static void fields(auto& self, auto&& field) {
    field("delimiter", self.delimiter);
    field("max_split", self.max_split);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// Removes the stop words of a [C] or [1, C] list, then changes case: change is "NONE", "LOWER" or "UPPER". When nothing
// is left the result is one empty string.
struct StringNormalizer {
  static constexpr std::string_view kName = "StringNormalizer";
  std::string change = "NONE";
  bool case_sensitive = false;
  std::vector<std::string> stop_words;

  static void fields(auto& self, auto&& field) {
    field("change", self.change);
    field("case_sensitive", self.case_sensitive);
    field("stop_words", self.stop_words);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// Whether all of each string matches the pattern: the syntax that RE2 and ECMAScript have in common.
struct RegexFullMatch {
  static constexpr std::string_view kName = "RegexFullMatch";
  std::string pattern;

  static void fields(auto& self, auto&& field) { field("pattern", self.pattern); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// lookup(x, keys, values, default): values[j] for the last keys[j] equal to the element (NaN equals NaN), else the
// default; an error when strict. Keys and x have one type, values and default another.
struct Lookup {
  static constexpr std::string_view kName = "Lookup";
  bool strict = false;

  static void fields(auto& self, auto&& field) { field("strict", self.strict); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// tf_idf(x, pool): how often each n-gram of the pool is in each row of x ([C] or [N, C]), scaled: mode TF, IDF or
// TFIDF. counts[n - 1] is where the pool's n-grams start; indexes[i] is the output position of the pool's i-th n-gram.
struct TfIdf {
  static constexpr std::string_view kName = "TfIdf";
  std::string mode = "TF";
  int64_t min_length = 1, max_length = 1, max_skip = 0;
  std::vector<int64_t> counts, indexes;
  std::vector<double> weights;

  static void fields(auto& self, auto&& field) {
    field("mode", self.mode);
    field("min_length", self.min_length);
    field("max_length", self.max_length);
    field("max_skip", self.max_skip);
    field("counts", self.counts);
    field("indexes", self.indexes);
    field("weights", self.weights);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
