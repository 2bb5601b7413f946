#pragma once

#include "ir/op.h"

namespace hone {

// Ops that make tensors out of a few numbers.

// range(start, limit, delta): start, start + delta, ... before limit; three scalars of one type.
struct Range {
  static constexpr std::string_view kName = "Range";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// random(shape): kind normal (mean a, deviation b) or uniform (in [a, b)). A seed gives the same numbers in every run.
struct Random {
  static constexpr std::string_view kName = "Random";
  static constexpr bool kPure = false;
  std::string kind = "uniform";
  double a = 0, b = 1;
  DType dtype = DType::f32;
  bool seeded = false;
  double seed = 0;

  static void fields(auto& self, auto&& field) {
    field("kind", self.kind);
    field("a", self.a);
    field("b", self.b);
    field("dtype", self.dtype);
    field("seeded", self.seeded);
    field("seed", self.seed);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// mel_weights(mel bins, dft length, sample rate, lower hertz, upper hertz), all scalars: the [dft length / 2 + 1, mel
// bins] triangular filters that turn a linear spectrum into a mel one, as ONNX defines them.
struct MelWeights {
  static constexpr std::string_view kName = "MelWeights";
  DType dtype = DType::f32;

  static void fields(auto& self, auto&& field) { field("dtype", self.dtype); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
