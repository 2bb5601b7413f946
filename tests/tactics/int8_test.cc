#include <fmt/format.h>

#include "base/cpu_info.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "stepwise.h"
#include "tactic_testing.h"

namespace hone {
namespace {

// The results of a tactic on every tier and thread count, in every variant.
template <class F>
void on_all(const char* name, const Problem& problem, const Tensors& inputs, F check) {
  const Tactic* tactic = find_tactic(name);
  ASSERT_NE(tactic, nullptr);
  for (int tier = 0; tier <= static_cast<int>(cpu::best_tier()); ++tier) {
    for (int threads : {1, 2}) {
      const Machine machine{.threads = threads, .max_tier = tier};
      const std::string reason = tactic->supports(problem, machine);
      if (reason == "AMX multiplies bytes faster" || reason == "it pays with AVX2 and AVX-512 alone") continue;
      ASSERT_EQ(reason, "");
      for (int variant = 0; variant < tactic->variants(problem, machine); ++variant) {
        SCOPED_TRACE(fmt::format("{}, tier {}, {} threads, variant {}", name, tier, threads, variant));
        ASSERT_NO_FATAL_FAILURE(check(run(*tactic, problem, inputs, variant, machine)));
      }
    }
  }
}

void expect_equal(const Tensor& got, const Tensor& want) {
  ASSERT_EQ(got.type(), want.type());
  for (int64_t i = 0; i < want.count(); ++i) ASSERT_EQ(got.at(i), want.at(i)) << "element " << i;
}

Tensor random_bytes(DType type, const Dims& dims, unsigned seed) {
  return type == DType::u8 ? random_tensor(type, dims, seed, 0, 256) : random_tensor(type, dims, seed, -128, 128);
}

void check_sums(const char* name, const Op& op, const Dims& x, const Dims& w) {
  for (DType type : {DType::i8, DType::u8}) {
    const Tensors inputs{random_bytes(type, x, 1), random_bytes(DType::i8, w, 2)};
    const auto want = op.evaluate({inputs, 1});
    ASSERT_TRUE(want.ok()) << want.status().message();
    on_all(name, problem_of(op, inputs, type_of((*want)[0])), inputs,
           [&](const Tensor& got) { expect_equal(got, (*want)[0]); });
  }
}

const Conv kConv{.strides = {2, 1}, .dilations = {1, 2}, .pads = {1, 0, 1, 2}, .channels_last = true};

TEST(Int8Tactics, PlainSums) {
  check_sums("cpu.conv_int8", kConv, {2, 9, 8, 19}, {21, 19, 3, 3});
  check_sums("cpu.conv_int8", Conv{.strides = {2}, .dilations = {1}, .pads = {1, 2}, .channels_last = true}, {2, 9, 7},
             {5, 7, 3});
  Conv grouped = kConv;
  grouped.groups = 3;
  check_sums("cpu.conv_int8", grouped, {1, 9, 8, 12}, {21, 4, 3, 3});
  grouped.groups = 19;
  check_sums("cpu.conv_int8_depthwise", grouped, {2, 9, 8, 19}, {19, 1, 3, 3});
  check_sums("cpu.gemm_int8", MatMul{}, {2, 5, 37}, {37, 29});
  check_sums("cpu.gemm_int8", MatMul{.trans_b = true}, {11, 37}, {29, 37});
  check_sums("cpu.gemm_int8", MatMul{}, {1, 768}, {768, 3072});
}

enum class From { none, constant, one, channels };
enum class Residual { none, real, bytes };
enum class Result8 { none, multiplied, divided };

struct Form {
  From scale = From::channels, bias = From::none;
  Residual residual = Residual::none;
  const char* activation = "";
  bool after = false;
  Result8 result = Result8::none;
  int zero = 0;  // of an i8 residual and of a quantised result
  From step = From::constant;
  DType in = DType::i8;
  bool nonnegative = false;                       // what is read, and the op says so
  From offset = From::none, factor = From::none;  // what zero points add: by channel, and of the sums of rows
};

// The program of a form, and the inputs that it takes behind the first two of `inputs`.
PointwiseProgram program_of(const Form& form, const Dims& dims, Tensors& inputs) {
  std::vector<std::string> code{"in0:i32"};
  int next = 1, v = 0;
  const auto emit = [&](std::string instr) {
    code.push_back(std::move(instr));
    return static_cast<int>(code.size()) - 1;
  };
  const auto input = [&](DType type, const Dims& shape, double low, double high) {
    inputs.push_back(random_tensor(type, shape, static_cast<unsigned>(next), low, high));
    return emit(fmt::format("in{}:{}", next++, name(type)));
  };
  const auto channel = [&](From from, double low, double high) {
    if (from == From::constant) return emit(fmt::format("constant:f32({})", (low + high) / 2));
    return input(DType::f32, from == From::one ? Dims{} : Dims{dims.back()}, low, high);
  };
  const auto whole = [&](From from, Dims shape, int most) {
    if (from == From::constant) return emit(fmt::format("constant:i32({})", most));
    return input(DType::i32, from == From::one ? Dims{} : std::move(shape), -most, most);
  };
  if (form.offset != From::none)
    v = emit(fmt::format("add:i32({},{})", v, whole(form.offset, {dims.back()}, 1'000'000)));
  if (form.factor != From::none) {
    Dims rows = dims;
    rows.back() = 1;
    const int row = whole(From::channels, rows, 9000), factor = whole(form.factor, {dims.back()}, 128);
    v = emit(fmt::format("add:i32({},{})", v, emit(fmt::format("mul:i32({},{})", row, factor))));
  }
  if (form.scale == From::none) {
    const auto program = pointwise_from_text(fmt::format("{}", fmt::join(code, "; ")));
    EXPECT_TRUE(program.ok()) << program.status().message();
    return program.ok() ? *program : PointwiseProgram();
  }
  v = emit(fmt::format("cast:f32({})", v));
  const int scale = channel(form.scale, 0x1p-12, 0x3p-12);
  v = emit(fmt::format("mul:f32({},{})", v, scale));
  if (form.bias != From::none) {
    const int bias = channel(form.bias, -4, 6);
    v = emit(fmt::format("add:f32({},{})", bias, v));
  }
  const auto activate = [&] {
    const std::string activation = form.activation;
    if (activation.empty()) return;
    const int a = emit("constant:f32(0.125)"), b = emit("constant:f32(0.75)");
    if (activation == "leaky_relu") v = emit(fmt::format("leaky_relu:f32({},{})", v, a));
    else if (activation == "clip" || activation == "hard_sigmoid")
      v = emit(fmt::format("{}:f32({},{},{})", activation, v, a, b));
    else v = emit(fmt::format("{}:f32({})", activation, v));
  };
  if (form.after) activate();
  if (form.residual == Residual::real) {
    v = emit(fmt::format("add:f32({},{})", v, input(DType::f32, dims, -3, 3)));
  } else if (form.residual == Residual::bytes) {
    int r = emit(fmt::format("cast:f32({})", input(DType::i8, dims, -128, 128)));
    if (form.zero != 0) r = emit(fmt::format("sub:f32({},{})", r, emit(fmt::format("constant:f32({})", form.zero))));
    const int unit = emit("constant:f32(0.03125)");
    const int real = emit(fmt::format("mul:f32({},{})", r, unit));
    v = emit(fmt::format("add:f32({},{})", v, real));
  }
  if (!form.after) activate();
  if (form.result != Result8::none) {
    const bool divided = form.result == Result8::divided;
    const int step = divided ? channel(form.step, 0.03125, 0.078125) : channel(form.step, 10, 25);
    v = emit(fmt::format("{}:f32({},{})", divided ? "div" : "mul", v, step));
    v = emit(fmt::format("round:f32({})", v));
    if (form.zero != 0) v = emit(fmt::format("add:f32({},{})", v, emit(fmt::format("constant:f32({})", form.zero))));
    const int low = emit("constant:f32(-128)"), high = emit("constant:f32(127)");
    v = emit(fmt::format("clip:f32({},{},{})", v, low, high));
    emit(fmt::format("cast:i8({})", v));
  }
  const auto program = pointwise_from_text(fmt::format("{}", fmt::join(code, "; ")));
  EXPECT_TRUE(program.ok()) << program.status().message();
  return program.ok() ? *program : PointwiseProgram();
}

// `exact`: else within a step of the last place, which is 1 of a result that is quantised.
void check_form(const char* tactic, const Op& op, const Dims& x, const Dims& w, const Form& form, bool exact) {
  Tensors inputs{form.nonnegative ? random_tensor(form.in, x, 1, 0, 128) : random_bytes(form.in, x, 1),
                 random_bytes(DType::i8, w, 2)};
  const auto sums = op.evaluate({inputs, 1});
  ASSERT_TRUE(sums.ok());
  const Dims dims = (*sums)[0].dims();
  const PointwiseProgram program = program_of(form, dims, inputs);
  SCOPED_TRACE(to_text(program));
  const TensorType result{program.result_type(), Shape::of(dims)};
  Tensors operands{(*sums)[0]};
  operands.insert(operands.end(), inputs.begin() + 2, inputs.end());
  const auto want = Pointwise{testing::stepwise(program)}.evaluate({operands, 1});
  ASSERT_TRUE(want.ok()) << want.status().message();
  on_all(tactic, problem_of(fused(op, program, inputs, result), inputs, result), inputs, [&](const Tensor& got) {
    if (exact) return expect_equal(got, (*want)[0]);
    for (int64_t i = 0; i < got.count(); ++i) {
      const double value = (*want)[0].at(i);
      ASSERT_NEAR(got.at(i), value, is_float(got.type()) ? 2e-6 * std::max(1.0, std::fabs(value)) : 1.0);
    }
  });
}

TEST(Int8Tactics, EveryExactEpilogue) {
  for (From scale : {From::constant, From::one, From::channels})
    for (From bias : {From::none, From::constant, From::one, From::channels})
      for (Residual residual : {Residual::none, Residual::real, Residual::bytes})
        for (Result8 result : {Result8::none, Result8::multiplied, Result8::divided})
          check_form("cpu.gemm_int8", MatMul{}, {7, 33}, {33, 21},
                     {.scale = scale, .bias = bias, .residual = residual, .activation = "relu", .result = result},
                     true);
}

TEST(Int8Tactics, ZeroPoints) {
  for (int zero : {-128, -1, 77, 127})
    for (Residual residual : {Residual::none, Residual::bytes})
      for (Result8 result : {Result8::none, Result8::divided})
        check_form("cpu.gemm_int8", MatMul{}, {7, 33}, {33, 21},
                   {.bias = From::channels, .residual = residual, .result = result, .zero = zero}, true);
}

TEST(Int8Tactics, EveryActivation) {
  for (const char* activation :
       {"", "relu", "clip", "leaky_relu", "hard_swish", "hard_sigmoid", "sigmoid", "silu", "tanh", "gelu_erf"}) {
    const bool exact = std::string_view(activation).ends_with("relu") || *activation == '\0' || *activation == 'c';
    for (bool after : {false, true})
      for (Result8 result : {Result8::none, Result8::multiplied})
        check_form("cpu.conv_int8", kConv, {1, 5, 6, 9}, {19, 9, 3, 3},
                   {.residual = Residual::bytes, .activation = activation, .after = after, .result = result}, exact);
  }
}

TEST(Int8Tactics, DepthwiseEpilogues) {
  Conv depthwise = kConv;
  depthwise.groups = 37;
  for (Residual residual : {Residual::none, Residual::real, Residual::bytes})
    check_form("cpu.conv_int8_depthwise", depthwise, {2, 7, 8, 37}, {37, 1, 3, 3},
               {.bias = From::channels, .residual = residual, .activation = "relu", .result = Result8::divided}, true);
}

TEST(Int8Tactics, StepsOfChannels) {
  Conv depthwise = kConv;
  depthwise.groups = 37;
  for (From step : {From::one, From::channels})
    for (Result8 result : {Result8::multiplied, Result8::divided}) {
      const Form form{.bias = From::channels, .activation = "relu", .result = result, .step = step};
      check_form("cpu.conv_int8_depthwise", depthwise, {2, 7, 8, 37}, {37, 1, 3, 3}, form, true);
      check_form("cpu.conv_int8", kConv, {1, 5, 6, 9}, {53, 9, 3, 3}, form, true);
      check_form("cpu.gemm_int8", MatMul{}, {7, 33}, {33, 21}, form, true);
    }
}

// What a model with scales found at run time computes: products of u8, in i32 or rescaled.
TEST(Int8Tactics, WhatZeroPointsAdd) {
  Conv depthwise = kConv;
  depthwise.groups = 37;
  for (From scale : {From::none, From::one, From::channels})
    for (From offset : {From::none, From::constant, From::one, From::channels}) {
      for (From factor : {From::none, From::constant, From::channels}) {
        if (scale == From::none && offset == From::none && factor == From::none) continue;
        const Form form{.scale = scale,
                        .bias = From::channels,
                        .residual = Residual::real,
                        .activation = "relu",
                        .in = DType::u8,
                        .offset = offset,
                        .factor = factor};
        check_form("cpu.gemm_int8", MatMul{}, {2, 7, 33}, {33, 21}, form, true);
        check_form("cpu.conv_int8", kConv, {2, 5, 6, 9}, {53, 9, 3, 3}, form, true);
      }
      if (offset == From::none) continue;
      const Form form{.scale = scale, .in = DType::u8, .offset = offset};
      check_form("cpu.conv_int8_depthwise", depthwise, {2, 7, 8, 37}, {37, 1, 3, 3}, form, true);
    }
}

const Conv kThreeByThree{.strides = {1, 1}, .dilations = {1, 1}, .pads = {1, 1, 1, 1}, .channels_last = true};

TEST(Int8Tactics, Winograd) {
  check_sums("cpu.conv_int8_winograd", kThreeByThree, {2, 9, 8, 19}, {21, 19, 3, 3});
  for (bool nonnegative : {false, true})
    for (Residual residual : {Residual::none, Residual::real, Residual::bytes})
      for (Result8 result : {Result8::none, Result8::multiplied, Result8::divided}) {
        Conv conv = kThreeByThree;
        conv.nonnegative = nonnegative;
        Form form{.bias = From::channels, .residual = residual, .result = result, .nonnegative = nonnegative};
        if (result == Result8::divided) form.activation = "relu";
        check_form("cpu.conv_int8_winograd", conv, {2, 5, 6, 9}, {53, 9, 3, 3}, form, true);
      }
  // Bounds and a bias alone, which is what most layers end in.
  check_form("cpu.conv_int8_winograd", kThreeByThree, {1, 7, 5, 12}, {40, 12, 3, 3},
             {.result = Result8::multiplied, .step = From::none}, true);
  check_form("cpu.conv_int8_winograd", kThreeByThree, {1, 7, 5, 12}, {40, 12, 3, 3},
             {.bias = From::one, .result = Result8::multiplied, .in = DType::u8, .offset = From::channels}, true);
}

TEST(Int8Tactics, WinogradRefuses) {
  const auto reason = [](const Conv& conv, const Dims& x, const Dims& w, double weight, const Machine& machine) {
    const Tensors inputs{random_bytes(DType::i8, x, 1), random_tensor(DType::i8, w, 2, weight, weight + 1)};
    const auto want = conv.evaluate({inputs, 1});
    EXPECT_TRUE(want.ok());
    return find_tactic("cpu.conv_int8_winograd")->supports(problem_of(conv, inputs, type_of((*want)[0])), machine);
  };
  if (cpu::best_tier() < cpu::Tier::avx2) GTEST_SKIP() << "this CPU has no AVX2";
  const Machine avx2{.max_tier = static_cast<int>(cpu::Tier::avx2)};
  Machine forbidden = avx2;
  forbidden.winograd = false;
  Conv grouped = kThreeByThree;
  grouped.groups = 2;
  EXPECT_EQ(reason(kThreeByThree, {1, 5, 5, 230}, {8, 230, 3, 3}, 20, avx2), "");
  EXPECT_EQ(reason(kThreeByThree, {1, 5, 5, 230}, {8, 230, 3, 3}, 127, avx2), "its sums may be too large to be exact");
  EXPECT_EQ(reason(kConv, {1, 9, 9, 8}, {8, 8, 3, 3}, 1, avx2), "stride is not 1");
  EXPECT_EQ(reason(grouped, {1, 9, 9, 16}, {16, 8, 3, 3}, 1, avx2), "grouped");
  EXPECT_EQ(reason(kThreeByThree, {1, 9, 9, 4}, {16, 4, 3, 3}, 1, avx2), "too few channels for the transforms to pay");
  EXPECT_EQ(reason(kThreeByThree, {1, 9, 9, 8}, {16, 8, 3, 3}, 1, {.max_tier = 0}),
            "it pays with AVX2 and AVX-512 alone");
  EXPECT_EQ(reason(kThreeByThree, {1, 9, 9, 8}, {16, 8, 3, 3}, 1, forbidden),
            "Winograd's and Strassen's algorithms are forbidden");
}

// Bytes of i8 that are read as u8, 1x1 windows where they lie.
TEST(Int8Tactics, NonnegativeActivations) {
  Conv window = kConv, pixel = kConv, depthwise = kConv;
  pixel.pads = {0, 0, 0, 0};
  pixel.strides = {1, 1};
  depthwise.groups = 37;
  window.nonnegative = pixel.nonnegative = depthwise.nonnegative = true;
  for (Residual residual : {Residual::none, Residual::bytes})
    for (Result8 result : {Result8::none, Result8::multiplied}) {
      const Form form{.bias = From::channels, .residual = residual, .result = result, .nonnegative = true};
      check_form("cpu.conv_int8", window, {2, 5, 6, 8}, {53, 8, 3, 3}, form, true);
      check_form("cpu.conv_int8", pixel, {2, 5, 6, 32}, {53, 32, 1, 1}, form, true);
      check_form("cpu.conv_int8", pixel, {2, 5, 6, 33}, {53, 33, 1, 1}, form, true);
      check_form("cpu.conv_int8_depthwise", depthwise, {2, 7, 8, 37}, {37, 1, 3, 3}, form, true);
      check_form("cpu.gemm_int8", MatMul{.nonnegative = true}, {57, 36}, {36, 85}, form, true);
    }
}

TEST(Int8Tactics, NoSumsOfRowsBesideOneChannelAGroup) {
  Conv depthwise = kConv;
  depthwise.groups = 8;
  Tensors inputs{random_bytes(DType::u8, {1, 5, 6, 8}, 1), random_bytes(DType::i8, {8, 1, 3, 3}, 2)};
  const auto sums = depthwise.evaluate({inputs, 1});
  ASSERT_TRUE(sums.ok());
  const PointwiseProgram program = program_of({.in = DType::u8, .factor = From::channels}, (*sums)[0].dims(), inputs);
  const TensorType result{DType::f32, Shape::of((*sums)[0].dims())};
  const Problem problem = problem_of(fused(depthwise, program, inputs, result), inputs, result);
  EXPECT_EQ(find_tactic("cpu.conv_int8_depthwise")->supports(problem, {}), "sums of rows beside one channel a group");
}

TEST(Int8Tactics, ResidualIsOverwritten) {
  Tensors inputs{random_tensor(DType::i8, {4, 8}, 1, -9, 9), random_tensor(DType::i8, {8, 8}, 2, -9, 9)};
  const PointwiseProgram program =
      program_of({.residual = Residual::bytes, .result = Result8::multiplied}, {4, 8}, inputs);
  const TensorType result{DType::i8, Shape::of(Dims{4, 8})};
  const Problem problem = problem_of(fused(MatMul{}, program, inputs, result), inputs, result);
  EXPECT_EQ(find_tactic("cpu.gemm_int8")->in_place(problem), 3);
}

TEST(Int8Tactics, PointwiseByATable) {
  for (DType from : {DType::i8, DType::u8}) {
    const bool is_signed = from == DType::i8;
    const Tensor x = random_tensor(from, {3, 5431}, 1, is_signed ? -128 : 0, is_signed ? 128 : 256);
    for (const char* rest : {"constant:f32(0.25); mul:f32(1,2); relu:f32(3)",
                             "constant:f32(-128); constant:f32(127); clip:f32(1,2,3); cast:i8(4)",
                             "constant:f32(1.75); mul:f32(1,2); round:f32(3); constant:f32(0); constant:f32(255); "
                             "clip:f32(4,5,6); cast:u8(7)"}) {
      const auto program = pointwise_from_text(fmt::format("in0:{}; cast:f32(0); {}", name(from), rest));
      ASSERT_TRUE(program.ok());
      const Tensors inputs{x};
      const auto want = Pointwise{*program}.evaluate({inputs, 1});
      ASSERT_TRUE(want.ok());
      const Problem problem{.op = Pointwise{*program}, .inputs = {type_of(x)}, .outputs = {type_of((*want)[0])}};
      on_all("cpu.pointwise_table", problem, inputs, [&](const Tensor& got) { expect_equal(got, (*want)[0]); });
    }
  }
}

// Work between f32 and i8 that no product takes in.
TEST(Int8Tactics, PointwiseQuantizes) {
  const Tensor x = random_tensor(DType::f32, {3, 41}, 1, -9, 9), q = random_tensor(DType::i8, {3, 41}, 2, -128, 128);
  for (const auto& [text, input] :
       {std::pair<const char*, const Tensor&>("in0:f32; constant:f32(0.0546875); div:f32(0,1); round:f32(2); "
                                              "constant:f32(-128); constant:f32(127); clip:f32(3,4,5); cast:i8(6)",
                                              x),
        std::pair<const char*, const Tensor&>("in0:i8; constant:f32(0.0546875); cast:f32(0); mul:f32(2,1)", q)}) {
    const auto program = pointwise_from_text(text);
    ASSERT_TRUE(program.ok());
    const Tensors inputs{input};
    const auto want = Pointwise{testing::stepwise(*program)}.evaluate({inputs, 1});
    ASSERT_TRUE(want.ok());
    Problem problem{.op = Pointwise{*program}, .inputs = {type_of(input)}, .outputs = {type_of((*want)[0])}};
    on_all("pointwise", problem, inputs, [&](const Tensor& got) { expect_equal(got, (*want)[0]); });
  }
}

}  // namespace
}  // namespace hone
