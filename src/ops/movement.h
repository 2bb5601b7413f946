#pragma once

#include "ir/op.h"

namespace hone {

// Ops that move or copy elements of any type and compute nothing.

// out.dims[i] = x.dims[perm[i]]
struct Transpose {
  static constexpr std::string_view kName = "Transpose";
  std::vector<int64_t> perm;

  static void fields(auto& self, auto&& field) { field("perm", self.perm); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// slice(x, starts, ends, axes?, steps?): integer vectors; ONNX rules for negative and out-of-range values.
struct Slice {
  static constexpr std::string_view kName = "Slice";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// Any number of inputs, equal but for the dim `axis`.
struct Concat {
  static constexpr std::string_view kName = "Concat";
  int64_t axis = 0;

  static void fields(auto& self, auto&& field) { field("axis", self.axis); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// split(x, sizes?): along `axis` into as many parts as the node has outputs, of the given sizes or as equal as can be
// (the last one smaller).
struct Split {
  static constexpr std::string_view kName = "Split";
  int64_t axis = 0;

  static void fields(auto& self, auto&& field) { field("axis", self.axis); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// pad(x, pads, value?, axes?): pads are begins, then ends, of all dims or of `axes`; negative ones crop.
// mode: constant, reflect, edge, wrap.
struct Pad {
  static constexpr std::string_view kName = "Pad";
  std::string mode = "constant";

  static void fields(auto& self, auto&& field) { field("mode", self.mode); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// expand(x, shape): broadcasts x with `shape` (both ways, numpy rules).
struct Expand {
  static constexpr std::string_view kName = "Expand";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// tile(x, repeats): repeats is one i64 a dim.
struct Tile {
  static constexpr std::string_view kName = "Tile";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
