#pragma once

#include "fused_problem.h"

// Attention and norms whose results are stored as bytes.
namespace hone::testing {

struct AttentionForm {
  std::string layout;
  Dims q, k, v;
  bool causal = false;
  Dims mask = {};
};

// One for each kernel and layout, and odd sizes.
inline const AttentionForm kAttentionForms[] = {{"packed", {2, 197, 3, 2, 64}, {}, {}},
                                                {"packed", {1, 70, 3, 2, 32}, {}, {}, false, {1, 1, 1, 70}},
                                                {"rows", {1, 65, 4, 80}, {1, 333, 2, 80}, {1, 333, 2, 48}, true},
                                                {"heads", {1, 2, 70, 24}, {1, 2, 90, 24}, {1, 2, 90, 40}},
                                                {"heads", {1, 2, 9, 63}, {1, 2, 130, 63}, {1, 2, 130, 33}}};

// The program that makes bytes of an element of `from`, by the step that `step` is in it.
inline std::string quantising_text(DType from, DType to, const std::string& step) {
  return fmt::format("in0:{}; cast:f32(0); {}; mul:f32(1,2); {}", name(from), step,
                     to == DType::i8
                         ? "round:f32(3); constant:f32(-128); constant:f32(127); clip:f32(4,5,6); cast:i8(7)"
                         : "cast_saturate:f8e4m3fn(3)");
}

inline Problem attention_in_bytes(const AttentionForm& f, DType from, DType to, double scale) {
  const auto input = [&](int at, const Dims& dims, DType type) {
    return dims.empty() ? "" : fmt::format("input %{} \"\" : {}\n", at, to_text(TensorType{type, Shape::of(dims)}));
  };
  const auto used = [](int at, const Dims& dims) { return dims.empty() ? "_" : fmt::format("%{}", at); };
  return fused_problem(
      fmt::format("graph {{\n{}{}{}{}%5 = Attention(%1, {}, {}, {}) {{layout=\"{}\", causal={}}}\n"
                  "%6 = Pointwise(%5) {{program=\"{}\"}}\noutput %6 \"y\"\n}}",
                  input(1, f.q, from), input(2, f.k, from), input(3, f.v, from), input(4, f.mask, DType::f32),
                  used(2, f.k), used(3, f.v), used(4, f.mask), f.layout, f.causal,
                  quantising_text(from, to, fmt::format("constant:f32({})", scale))));
}

// Of `rows` rows of `extent`, with a step for each column; without a bias where it has none.
inline Problem norm_in_bytes(int64_t rows, int64_t extent, bool bias, DType from, DType to) {
  return fused_problem(
      fmt::format("graph {{\ninput %1 \"x\" : {0}[{1},{2}]\ninput %2 \"s\" : {0}[{2}]\n{3}"
                  "input %4 \"steps\" : f32[{2}]\n%5 = LayerNorm(%1, %2{4})\n"
                  "%6 = Pointwise(%5, %4) {{program=\"{5}\"}}\noutput %6 \"y\"\n}}",
                  name(from), rows, extent, bias ? fmt::format("input %3 \"b\" : {}[{}]\n", name(from), extent) : "",
                  bias ? ", %3" : "", quantising_text(from, to, "in1:f32")));
}

// A product of bytes in steps of kSumStep, a function of it, and that in kPerOne steps of 1.
constexpr double kSumStep = 2e-5, kPerOne = 30;
inline Problem function_in_bytes(const char* function) {
  return fused_problem(
      fmt::format("graph {{\ninput %1 \"a\" : i8[70,256]\ninput %2 \"b\" : i8[256,48]\n"
                  "%3 = MatMul(%1, %2)\n%4 = Pointwise(%3) {{program=\"in0:i32; cast:f32(0); "
                  "constant:f32({}); mul:f32(1,2); {}:f32(3); constant:f32({}); mul:f32(4,5); "
                  "round:f32(6); constant:f32(-128); constant:f32(127); clip:f32(7,8,9); "
                  "cast:i8(10)\"}}\noutput %4 \"y\"\n}}",
                  kSumStep, function, kPerOne));
}

}  // namespace hone::testing
