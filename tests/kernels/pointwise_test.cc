// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/pointwise/pointwise.h"

#include <cstring>
#include <functional>

#include "kernel_testing.h"

namespace hone::cpu {
namespace {

PointwiseProgram parse(const char* text) {
  auto program = pointwise_from_text(text);
  EXPECT_TRUE(program.ok()) << program.status().message();
  return *program;
}

struct Array {
  DType type = DType::f32;
  std::vector<int64_t> dims;
  const void* data = nullptr;
};

void run(const PointwiseProgram& program, const std::vector<Array>& inputs, const Array& out, void* data, Tier tier,
         int threads) {
  std::vector<PointwiseOperand> operands;
  std::vector<const void*> pointers;
  for (const auto& in : inputs) operands.push_back({in.type, in.dims}), pointers.push_back(in.data);
  const auto plan = PointwisePlan::make(program, operands, {out.type, out.dims}, tier);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  ThreadPool pool(threads);
  Workspace workspace(plan->workspace_bytes(threads));
  plan->run(pointers.data(), data, workspace.get(), pool);
}

struct Unary {
  Fn fn;
  double (*reference)(double);
  float low, high;
  double limit;  // ulp
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

const Unary kUnary[] = {
    {Fn::neg, [](double x) { return -x; }, -9, 9, 0},
    {Fn::abs, [](double x) { return std::fabs(x); }, -9, 9, 0},
    {Fn::sign, [](double x) { return std::isnan(x) ? x : (x > 0) - (x < 0); }, -9, 9, 0},
    {Fn::reciprocal, [](double x) { return 1 / x; }, -9, 9, 0.51},
    {Fn::sqrt, [](double x) { return std::sqrt(x); }, 0, 1e9, 0.51},
    {Fn::rsqrt, [](double x) { return 1 / std::sqrt(x); }, 0, 1e3, 1.5},
    {Fn::square, [](double x) { return x * x; }, -9, 9, 0.51},
    {Fn::exp, [](double x) { return std::exp(x); }, -105, 90, 2},
    {Fn::exp, [](double x) { return std::exp(x); }, -1, 1, 1.5},
    {Fn::expm1, [](double x) { return std::expm1(x); }, -30, 90, 2.5},
    {Fn::expm1, [](double x) { return std::expm1(x); }, -1, 1, 2.5},
    {Fn::log, [](double x) { return std::log(x); }, 0, 1e6, 1.5},
    {Fn::log, [](double x) { return std::log(x); }, 0.5, 2, 2},
    {Fn::log, [](double x) { return std::log(x); }, 0, 1e-37f, 1.5},
    {Fn::log1p, [](double x) { return std::log1p(x); }, -1, 2, 2.5},
    {Fn::log1p, [](double x) { return std::log1p(x); }, -1e-3f, 1e-3f, 2.5},
    {Fn::tanh, [](double x) { return std::tanh(x); }, -12, 12, 3},
    {Fn::tanh, [](double x) { return std::tanh(x); }, -0.5, 0.5, 3},
    {Fn::erf, [](double x) { return std::erf(x); }, -5, 5, 2.5},
    {Fn::sigmoid, sigmoid, -100, 100, 3},
    {Fn::softplus, softplus, -90, 90, 3.5},
    {Fn::silu, [](double x) { return x * sigmoid(x); }, -80, 80, 3.5},
    {Fn::softsign, [](double x) { return x / (1 + std::fabs(x)); }, -9, 9, 1.5},
    {Fn::gelu_erf, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }, -12, 12, 6},
    {Fn::mish, [](double x) { return x * std::tanh(softplus(x)); }, -40, 40, 4},
    {Fn::sin, [](double x) { return std::sin(x); }, -3, 3, 2.5},
    {Fn::cos, [](double x) { return std::cos(x); }, -1.5, 1.5, 2.5},
    {Fn::floor, [](double x) { return std::floor(x); }, -9, 9, 0},
    {Fn::ceil, [](double x) { return std::ceil(x); }, -9, 9, 0},
    {Fn::round, [](double x) { return std::nearbyint(x); }, -9, 9, 0},
    {Fn::trunc, [](double x) { return std::trunc(x); }, -1e8f, 1e8f, 0},
    {Fn::relu, [](double x) { return std::isnan(x) ? x : std::max(x, 0.0); }, -9, 9, 0},
    {Fn::tan, [](double x) { return std::tan(x); }, -1.5, 1.5, 2},
    {Fn::atanh, [](double x) { return std::atanh(x); }, -1, 1, 3},
};

TEST(Pointwise, UnaryFunctionsAreAccurate) {
  for (const Unary& f : kUnary) {
    std::vector<float> x = random_floats(40000, 7, f.low, f.high);
    for (float special : {0.f, -0.f, INFINITY, -INFINITY, NAN, FLT_MIN, 1e-40f, 1.f, -1.f, 0.5f, 2.5f, 100.f, -100.f})
      x.push_back(special);
    const PointwiseProgram program = single(f.fn, DType::f32, DType::f32);
    const std::vector<int64_t> dims = {static_cast<int64_t>(x.size())};
    for (Tier tier : tiers()) {
      std::vector<float> y(x.size());
      run(program, {{DType::f32, dims, x.data()}}, {DType::f32, dims}, y.data(), tier, 1);
      double worst = 0;
      float at = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double want = f.reference(x[i]);
        // Factors below the normal range have fewer digits.
        if (want != 0 && std::fabs(want) < 1e-36 && std::fabs(y[i] - want) < 1e-42) continue;
        const double error = ulps(y[i], want);
        if (error > worst) worst = error, at = x[i];
      }
      EXPECT_LE(worst, f.limit + (tier == Tier::scalar ? f.limit : 0))
          << name(f.fn) << " at " << at << " on " << tier_name(tier) << ", exact " << f.reference(at);
    }
  }
}

TEST(Pointwise, LargeAnglesAndGeluTanh) {
  const std::vector<float> x = random_floats(5000, 3, -7000, 7000);
  const std::vector<int64_t> dims = {5000};
  for (Tier tier : tiers()) {
    std::vector<float> s(x.size()), g(x.size());
    run(single(Fn::sin, DType::f32, DType::f32), {{DType::f32, dims, x.data()}}, {DType::f32, dims}, s.data(), tier, 1);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(s[i], std::sin(static_cast<double>(x[i])), 2e-7);
    std::vector<float> small(x);
    for (auto& v : small) v /= 1000;
    run(single(Fn::gelu_tanh, DType::f32, DType::f32), {{DType::f32, dims, small.data()}}, {DType::f32, dims}, g.data(),
        tier, 1);
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = small[i];
      const double want = 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
      EXPECT_NEAR(g[i], want, 1e-6 * std::max(1.0, std::fabs(v)) * 0.5) << v;
    }
  }
}

// Dims of three inputs and of the output.
const std::vector<std::vector<int64_t>> kShapes[] = {
    {{1000}, {1000}, {1000}, {1000}},
    {{5, 130}, {130}, {5, 1}, {5, 130}},
    {{2, 3, 7, 11}, {3, 1, 1}, {1, 3, 1, 1}, {2, 3, 7, 11}},
    {{2, 9, 5, 3}, {3}, {2, 1, 1, 3}, {2, 9, 5, 3}},
    {{4, 1, 6}, {1, 5, 1}, {4, 5, 6}, {4, 5, 6}},
    {{1}, {1, 1}, {}, {1, 1}},
    {{300, 700}, {}, {300, 700}, {300, 700}},
    {{0, 4}, {4}, {1}, {0, 4}},
    {{}, {}, {}, {4, 70}},
};

TEST(Pointwise, BroadcastsOnAllTiersAndThreads) {
  const char* texts[] = {"in0:f32; in1:f32; in2:f32; mul:f32(0,1); add:f32(3,2); relu:f32(4)",
                         "in0:f32; in1:f32; in2:f32; less:bool(0,1); where:f32(3,2,0)",
                         "in0:f32; in1:f32; in2:f32; constant:f32(0.25); exp:f32(1); mul:f32(3,4); clip:f32(0,5,2)"};
  const std::function<double(double, double, double)> references[] = {
      [](double a, double b, double c) { return std::max(0.0, a * b + c); },
      [](double a, double b, double c) { return a < b ? c : a; },
      [](double a, double b, double c) { return std::min(std::max(a, 0.25 * std::exp(b)), c); }};
  for (size_t p = 0; p < 3; ++p) {
    const PointwiseProgram program = parse(texts[p]);
    for (const auto& shape : kShapes) {
      std::vector<std::vector<float>> data;
      std::vector<Array> inputs;
      for (unsigned k = 0; k < 3; ++k) data.push_back(random_floats(product(shape[k]), k + 1));
      for (size_t k = 0; k < 3; ++k) inputs.push_back({DType::f32, shape[k], data[k].data()});
      for (Tier tier : tiers()) {
        for (int threads : {1, 2}) {
          std::vector<float> out(static_cast<size_t>(product(shape[3])) + 1, 99.f);
          run(program, inputs, {DType::f32, shape[3]}, out.data(), tier, threads);
          EXPECT_EQ(out.back(), 99.f);
          size_t i = 0;
          for_each_index(shape[3], [&](const std::vector<int64_t>& at) {
            double v[3];
            for (size_t k = 0; k < 3; ++k) {
              const auto& dims = shape[k];
              int64_t offset = 0;
              for (size_t d = 0; d < dims.size(); ++d)
                offset = offset * dims[d] + (dims[d] == 1 ? 0 : at[d + at.size() - dims.size()]);
              v[k] = data[k][static_cast<size_t>(offset)];
            }
            EXPECT_NEAR(out[i++], references[p](v[0], v[1], v[2]), 1e-6);
          });
        }
      }
    }
  }
}

TEST(Pointwise, WorksInPlaceAndStrided) {
  const PointwiseProgram program = parse("in0:f32; in1:f32; add:f32(0,1); tanh:f32(2); add:f32(3,0)");
  for (Tier tier : tiers()) {
    std::vector<float> x = random_floats(50000), b = random_floats(50000, 2), y = x;
    run(program, {{DType::f32, {50000}, y.data()}, {DType::f32, {50000}, b.data()}}, {DType::f32, {50000}}, y.data(),
        tier, 2);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], std::tanh(static_cast<double>(x[i]) + b[i]) + x[i], 1e-6);

    // Rows of 20 out of 32, written to rows of 24; and a transposed input.
    const std::vector<int64_t> dims = {7, 20}, in_strides = {32, 1}, turned = {1, 7}, out_strides = {24, 1};
    std::vector<float> out(7 * 24, 99.f);
    const PointwiseOperand rows[] = {{DType::f32, dims, in_strides}, {DType::f32, dims}};
    auto plan = PointwisePlan::make(program, rows, {DType::f32, dims, out_strides}, tier);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    ThreadPool pool(1);
    Workspace workspace(plan->workspace_bytes(1));
    const void* in[] = {x.data(), b.data()};
    plan->run(in, out.data(), workspace.get(), pool);
    EXPECT_EQ(out[20], 99.f);
    EXPECT_NEAR(out[24 + 3], std::tanh(x[32 + 3] + b[20 + 3]) + x[32 + 3], 1e-6);
    const PointwiseOperand columns[] = {{DType::f32, dims, turned}, {DType::f32, dims}};
    plan = PointwisePlan::make(program, columns, {DType::f32, dims}, tier);
    ASSERT_TRUE(plan.ok());
    Workspace second(plan->workspace_bytes(1));
    plan->run(in, out.data(), second.get(), pool);
    EXPECT_NEAR(out[2 * 20 + 3], std::tanh(x[3 * 7 + 2] + b[2 * 20 + 3]) + x[3 * 7 + 2], 1e-6);
  }
}

TEST(Pointwise, IntegersAndCasts) {
  const std::vector<int64_t> dims = {37};
  std::vector<int64_t> a(37), b(37);
  std::vector<uint8_t> u(37), mask(37);
  std::vector<float> f(37);
  for (size_t i = 0; i < 37; ++i) {
    a[i] = static_cast<int64_t>(i) * 7 - 100, b[i] = static_cast<int64_t>(i) - 18;
    u[i] = static_cast<uint8_t>(i * 13), mask[i] = i % 3 == 0, f[i] = static_cast<float>(i) * 20.7f - 300.f;
  }
  for (Tier tier : tiers()) {
    std::vector<int64_t> q(37);
    run(parse("in0:i64; in1:i64; mod:i64(0,1)"), {{DType::i64, dims, a.data()}, {DType::i64, dims, b.data()}},
        {DType::i64, dims}, q.data(), tier, 1);
    for (size_t i = 0; i < 37; ++i) {
      const int64_t r = b[i] == 0 ? 0 : ((a[i] % b[i]) + b[i]) % b[i];
      EXPECT_EQ(q[i], r) << a[i] << " mod " << b[i];
    }
    std::vector<uint8_t> w(37);
    run(parse("in0:u8; constant:u8(200); add:u8(0,1)"), {{DType::u8, dims, u.data()}}, {DType::u8, dims}, w.data(),
        tier, 1);
    for (size_t i = 0; i < 37; ++i) EXPECT_EQ(w[i], static_cast<uint8_t>(u[i] + 200));
    run(parse("in0:f32; cast:u8(0)"), {{DType::f32, dims, f.data()}}, {DType::u8, dims}, w.data(), tier, 1);
    for (size_t i = 0; i < 37; ++i) EXPECT_EQ(w[i], static_cast<uint8_t>(static_cast<int64_t>(f[i])));
    std::vector<int64_t> s(37);
    run(parse("in0:bool; in1:i64; constant:i64(5); where:i64(0,1,2)"),
        {{DType::boolean, dims, mask.data()}, {DType::i64, dims, a.data()}}, {DType::i64, dims}, s.data(), tier, 1);
    for (size_t i = 0; i < 37; ++i) EXPECT_EQ(s[i], mask[i] ? a[i] : 5);
    run(parse("in0:i64; constant:i64(0); greater:bool(0,1); logical_not:bool(2)"), {{DType::i64, dims, a.data()}},
        {DType::boolean, dims}, w.data(), tier, 1);
    for (size_t i = 0; i < 37; ++i) EXPECT_EQ(w[i], a[i] <= 0);
  }
}

// Rounded to nearest even and clipped, in one pass where the text allows it: the last two are cut off, or leave i8.
TEST(Pointwise, QuantizesToBytes) {
  struct Case {
    const char* text;
    DType type;
    int (*of)(float);
  };
  static constexpr auto clipped = [](float v, float low, float high) {
    return std::isnan(v) ? 0 : static_cast<int>(std::min(std::max(v, low), high));
  };
  const Case cases[] = {
      {"in0:f32; constant:f32(0.5); div:f32(0,1); round:f32(2); constant:f32(-128); constant:f32(127); "
       "clip:f32(3,4,5); "
       "cast:i8(6)",
       DType::i8, [](float x) { return clipped(std::nearbyint(x / 0.5f), -128, 127); }},
      {"in0:f32; round:f32(0); constant:f32(-9); constant:f32(7); clip:f32(1,2,3); cast:i8(4)", DType::i8,
       [](float x) { return clipped(std::nearbyint(x), -9, 7); }},
      {"in0:f32; round:f32(0); constant:f32(100); add:f32(1,2); constant:f32(0); constant:f32(255); clip:f32(3,4,5); "
       "cast:u8(6)",
       DType::u8, [](float x) { return clipped(std::nearbyint(x) + 100, 0, 255); }},
      {"in0:f32; constant:f32(-128); constant:f32(127); clip:f32(0,1,2); cast:i8(3)", DType::i8,
       [](float x) { return clipped(x, -128, 127); }},
      {"in0:f32; round:f32(0); constant:f32(-300); constant:f32(300); clip:f32(1,2,3); cast:i8(4)", DType::i8,
       [](float x) { return static_cast<int>(static_cast<int8_t>(clipped(std::nearbyint(x), -300, 300))); }},
  };
  std::vector<float> x = random_floats(1000, 5);
  for (size_t i = 0; i < x.size(); ++i) x[i] = i % 3 == 0 ? static_cast<float>(i) / 2 - 250 : x[i] * 90;
  for (float odd : {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, -0.f, 0.5f, 1.5f, 126.5f, 127.5f}) x.push_back(odd);
  for (const Case& c : cases) {
    const PointwiseProgram program = parse(c.text);
    for (Tier tier : tiers()) {
      for (int64_t n : {int64_t{1}, int64_t{37}, static_cast<int64_t>(x.size())}) {
        const float* const from = x.data() + x.size() - static_cast<size_t>(n);
        std::vector<uint8_t> out(static_cast<size_t>(n) + 1, 77);
        run(program, {{DType::f32, {n}, from}}, {c.type, {n}}, out.data(), tier, 1);
        EXPECT_EQ(out.back(), 77);
        for (int64_t i = 0; i < n; ++i)
          EXPECT_EQ(out[static_cast<size_t>(i)], static_cast<uint8_t>(c.of(from[i]))) << c.text << " of " << from[i];
      }
    }
  }
}

TEST(Pointwise, HalfPrecisionStorage) {
  const std::vector<int64_t> dims = {1003};
  const std::vector<float> x = random_floats(1003);
  for (DType type : {DType::f16, DType::bf16}) {
    const auto round_trip = [&](float v) { return type == DType::f16 ? to_float(to_f16(v)) : to_float(to_bf16(v)); };
    std::vector<uint16_t> in(1003), out(1003);
    for (size_t i = 0; i < 1003; ++i) in[i] = type == DType::f16 ? to_f16(x[i]).bits : to_bf16(x[i]).bits;
    PointwiseProgram program = single(Fn::square, type, type);
    for (Tier tier : tiers()) {
      run(program, {{type, dims, in.data()}}, {type, dims}, out.data(), tier, 1);
      for (size_t i = 0; i < 1003; ++i) {
        const float v = round_trip(x[i]);
        EXPECT_EQ(type == DType::f16 ? to_float(f16{out[i]}) : to_float(bf16{out[i]}), round_trip(v * v));
      }
    }
  }
}

TEST(Pointwise, E4m3IsTheReferences) {
  std::vector<float> x = random_floats(997, 3, -20, 20);
  for (int code = 0; code < 256; ++code) {  // each number, what is halfway to the next one, and what is beside that
    const auto at = [](int c) { return static_cast<float>(decode_small(DType::f8e4m3fn, static_cast<uint8_t>(c))); };
    const float half = (at(code) + at(code + 1)) / 2;
    for (const float v : {at(code), half, std::nextafter(half, 0.f), std::nextafter(half, 1e9f)}) x.push_back(v);
  }
  for (const float v : {463.9f, 464.f, 464.1f, 1e30f, -1e30f, INFINITY, -INFINITY, 1e-30f, -1e-40f}) x.push_back(v);
  const std::vector<int64_t> dims = {static_cast<int64_t>(x.size())};
  std::vector<uint8_t> codes(x.size());
  std::vector<float> y(x.size());
  for (Tier tier : tiers()) {
    run(parse("in0:f32; cast_saturate:f8e4m3fn(0)"), {{DType::f32, dims, x.data()}}, {DType::f8e4m3fn, dims},
        codes.data(), tier, 2);
    run(parse("in0:f8e4m3fn; cast:f32(0)"), {{DType::f8e4m3fn, dims, codes.data()}}, {DType::f32, dims}, y.data(), tier,
        2);
    for (size_t i = 0; i < x.size(); ++i) {
      const uint8_t want = encode_small(DType::f8e4m3fn, x[i]);
      ASSERT_EQ(codes[i] & (std::isnan(x[i]) ? 0x7f : 0xff), want & (std::isnan(x[i]) ? 0x7f : 0xff)) << x[i];
      if (std::isnan(x[i])) ASSERT_TRUE(std::isnan(y[i]));
      else ASSERT_EQ(y[i], decode_small(DType::f8e4m3fn, want)) << x[i];
    }
  }
  EXPECT_NE(pointwise_supports(parse("in0:f32; cast:f8e4m3fn(0)")), nullptr) << "what is beyond 448 is NaN";
}

// Each way that a block finds its operands: rows with a row for all, short rows, one value a row, one value.
TEST(Pointwise, FunctionsOfBf16AreThoseOfFp32Rounded) {
  struct Case {
    const char *stored, *wide;
  };
  const Case cases[] = {
      {"in0:bf16; in1:bf16; cast:f32(0); cast:f32(1); mul:f32(2,3); cast:bf16(4)", "in0:f32; in1:f32; mul:f32(0,1)"},
      {"in0:bf16; in1:bf16; cast:f32(1); cast:f32(0); sub:f32(2,3); cast:bf16(4)", "in0:f32; in1:f32; sub:f32(1,0)"},
      {"in0:bf16; in1:bf16; cast:f32(0); cast:f32(1); mul:f32(2,3); add:f32(4,2); cast:bf16(5)",
       "in0:f32; in1:f32; mul:f32(0,1); add:f32(2,0)"},
      {"in0:bf16; in1:bf16; cast:f32(0); cast:f32(1); relu:f32(2); add:f32(4,3); cast:bf16(5)",
       "in0:f32; in1:f32; relu:f32(0); add:f32(2,1)"},
      {"in0:bf16; in1:bf16; cast:f32(0); cast:f32(1); less:bool(2,3); where:f32(4,2,3); cast:bf16(5)",
       "in0:f32; in1:f32; less:bool(0,1); where:f32(2,0,1)"},
      {"in0:bf16; in1:bf16; cast:f32(0); cast:f32(1); constant:f32(0.5); mul:f32(2,3); mul:f32(5,4); cast:bf16(6)",
       "in0:f32; in1:f32; constant:f32(0.5); mul:f32(0,1); mul:f32(3,2)"}};
  for (const int64_t length : {67, 9})
    for (const std::vector<int64_t>& second : {std::vector<int64_t>{length}, {29, 1}, {29, length}, {1}}) {
      const std::vector<int64_t> dims = {29, length};
      const auto count = static_cast<size_t>(29 * length);
      const auto seconds = static_cast<size_t>(second[0] * (second.size() == 1 ? 1 : second[1]));
      const auto rounded = [](std::vector<float> values, std::vector<bf16>& stored) {
        for (float& v : values) stored.push_back(to_bf16(v)), v = to_float(stored.back());
        return values;
      };
      std::vector<bf16> a, b, got(count);
      const std::vector<float> x = rounded(random_floats(count), a), y = rounded(random_floats(seconds), b);
      std::vector<float> want(count);
      for (const Case& c : cases)
        for (Tier tier : tiers()) {
          run(parse(c.stored), {{DType::bf16, dims, a.data()}, {DType::bf16, second, b.data()}}, {DType::bf16, dims},
              got.data(), tier, 2);
          run(parse(c.wide), {{DType::f32, dims, x.data()}, {DType::f32, second, y.data()}}, {DType::f32, dims},
              want.data(), tier, 2);
          for (size_t i = 0; i < count; ++i)
            ASSERT_EQ(to_float(got[i]), to_float(to_bf16(want[i]))) << c.wide << " row of " << length << " at " << i;
        }
    }
}

TEST(Pointwise, RefusesWithAReason) {
  EXPECT_EQ(pointwise_supports(single(Fn::add, DType::f32, DType::f32)), nullptr);
  EXPECT_NE(pointwise_supports(single(Fn::add, DType::f64, DType::f64)), nullptr);
  EXPECT_NE(pointwise_supports(single(Fn::sin, DType::i32, DType::i32)), nullptr);
  const std::vector<int64_t> three = {3}, four = {4};
  const PointwiseOperand operands[] = {{DType::f32, three}, {DType::f32, four}};
  EXPECT_FALSE(PointwisePlan::make(single(Fn::add, DType::f32, DType::f32), operands, {DType::f32, four}).ok());
}

}  // namespace
}  // namespace hone::cpu
