#include "kernels/cpu/bf16/bf16.h"

#include "amx_emulation.h"
#include "base/dtype.h"
#include "kernel_testing.h"
#include "kernels/cpu/bf16/tiles_impl.h"
#include "kernels/cpu/planes/planes.h"
#include "window_cases.h"

namespace hone::cpu {
namespace {

struct Named {
  std::string name;
  const Bf16Kernel* kernel;
};

// Those that this CPU runs, and AMX's as it would be elsewhere.
std::vector<Named> kernels() {
  std::vector<Named> all{{"emulated AMX", &HONE_TIER_NS::kBf16Tiles}};
  for (Bf16Set set : {Bf16Set::avx512, Bf16Set::amx})
    if (has_bf16_set(set)) all.push_back({bf16_set_name(set), &bf16_kernel(set)});
  return all;
}

double rounded(float v) { return to_float(to_bf16(v)); }

struct Sum {
  double value = 0, magnitude = 0;  // of the sum, and the sum of the products' magnitudes
};

std::vector<Sum> reference(const ConvProblem& p, const std::vector<float>& x, const std::vector<float>& w) {
  const int64_t cin = p.cin / p.groups, cout = p.cout / p.groups;
  std::vector<Sum> y;
  for_each_index({p.n, p.out_h(), p.out_w(), p.cout}, [&](const std::vector<int64_t>& at) {
    Sum sum;
    for_each_index({p.kh, p.kw, cin}, [&](const std::vector<int64_t>& k) {
      const int64_t iy = at[1] * p.stride_h - p.pad_top + k[0] * p.dilation_h;
      const int64_t ix = at[2] * p.stride_w - p.pad_left + k[1] * p.dilation_w;
      if (iy < 0 || iy >= p.h || ix < 0 || ix >= p.w) return;
      const int64_t from = ((at[0] * p.h + iy) * p.w + ix) * p.cin + at[3] / cout * cin + k[2];
      const double product = rounded(x[static_cast<size_t>(from)]) *
                             rounded(w[static_cast<size_t>(((at[3] * cin + k[2]) * p.kh + k[0]) * p.kw + k[1])]);
      sum.value += product;
      sum.magnitude += std::fabs(product);
    });
    y.push_back(sum);
  });
  return y;
}

struct Data {
  std::vector<float> x, w, bias, residual;
  std::vector<Sum> sums;
  WeightView<float> weights;

  explicit Data(const ConvProblem& p)
      : x(random_floats(p.n * p.h * p.w * p.cin, 1)),
        w(random_floats(p.cout * p.cin / p.groups * p.kh * p.kw, 2)),
        bias(random_floats(p.cout, 3)),
        residual(random_floats(p.n * p.out_h() * p.out_w() * p.cout, 4)),
        sums(reference(p, x, w)),
        weights{w.data(), p.cin / p.groups * p.kh * p.kw, p.kh * p.kw, 1} {}
};

std::vector<float> run(const ConvProblem& p, const Bf16Kernel& kernel, const GatherSharing& sharing, const Data& data,
                       const Epilogue& epilogue) {
  Workspace packed(bf16_packed_bytes(p, kernel)), workspace(bf16_workspace_bytes(p, kernel, sharing));
  bf16_pack(p, kernel, data.weights, packed.get());
  std::vector<float> y(data.sums.size(), NAN);
  ThreadPool pool(sharing.threads);
  bf16_conv(p, kernel, sharing,
            {.in = data.x.data(),
             .packed = packed.get(),
             .out = y.data(),
             .epilogue = epilogue,
             .workspace = workspace.get(),
             .pool = &pool});
  return y;
}

// The same with tensors in bf16, the result over the residual where there is one.
std::vector<float> run_in_bf16(const ConvProblem& p, const Bf16Kernel& kernel, const GatherSharing& sharing,
                               const Data& data, Epilogue epilogue) {
  Workspace packed(bf16_packed_bytes(p, kernel)), workspace(bf16_workspace_bytes(p, kernel, sharing));
  bf16_pack(p, kernel, data.weights, packed.get());
  const auto x = in_bf16(data.x);
  auto y = in_bf16(data.residual);
  if (epilogue.residual != nullptr) epilogue.residual = y.data();
  ThreadPool pool(sharing.threads);
  bf16_conv(p, kernel, sharing,
            {.in_bf16 = true,
             .in = x.data(),
             .packed = packed.get(),
             .out = y.data(),
             .epilogue = epilogue,
             .workspace = workspace.get(),
             .pool = &pool});
  return in_f32(y);
}

// Products of bf16 are exact in f32. Each of k additions, and of the few that join partial sums, the bias and the
// residual, errs by at most half a unit of 2^-23 of a partial result, which is not larger than the magnitudes' sum.
double tolerance(const Sum& sum, int64_t k, double rest) {
  return static_cast<double>(k + 6) * 0x1p-24 * (sum.magnitude + rest) * 1.01;
}

void check(const ConvProblem& p) {
  const Data data(p);
  const int64_t k = p.kh * p.kw * p.cin / p.groups;
  for (const Named& named : kernels()) {
    // The emulated tiles are one thread's.
    const bool emulated = named.kernel == kernels().front().kernel;
    std::vector<GatherSharing> ways{{}, {.split = 2, .row_block = 5}, {.in_place = true}};
    if (!emulated)
      for (int split : {1, 2}) ways.push_back({.threads = 2, .split = split, .row_block = 5, .in_place = split == 2});
    for (const GatherSharing& sharing : ways) {
      SCOPED_TRACE(named.name + ", threads " + std::to_string(sharing.threads) + ", split " +
                   std::to_string(sharing.split) + ", depth " + std::to_string(k));
      const Epilogue epilogue{.bias = data.bias.data(), .residual = data.residual.data(), .act = Activation::relu};
      const auto plain = run(p, *named.kernel, sharing, data, {});
      const auto whole = run(p, *named.kernel, sharing, data, epilogue);
      const auto plain_in_bf16 = run_in_bf16(p, *named.kernel, sharing, data, {});
      const auto whole_in_bf16 = run_in_bf16(p, *named.kernel, sharing, data, epilogue);
      for (size_t i = 0; i < plain.size(); ++i) {
        const double sum = data.sums[i].value, most = tolerance(data.sums[i], k, 0);
        ASSERT_NEAR(plain[i], sum, most) << "at " << i;
        ASSERT_NEAR(plain_in_bf16[i], sum, most + bf16_rounding(sum, most)) << "at " << i;
        const double bias = data.bias[i % data.bias.size()], residual = data.residual[i];
        const double with = tolerance(data.sums[i], k, std::fabs(bias) + std::fabs(residual));
        ASSERT_NEAR(whole[i], std::max(0., sum + bias + residual), with) << "at " << i;
        const double want = std::max(0., sum + bias + rounded(data.residual[i]));
        ASSERT_NEAR(whole_in_bf16[i], want, with + bf16_rounding(want, with)) << "at " << i;
      }
    }
  }
}

TEST(Bf16, EveryDepth) {
  for (int64_t k = 1; k <= 70; ++k) check({.w = 14, .cin = k, .cout = 19});
  check({.w = 3, .cin = 1000, .cout = 40});
}

TEST(Bf16, EveryHeight) {
  for (int64_t m = 1; m <= 35; ++m) check({.w = m, .cin = 9, .cout = 35});
}

TEST(Bf16, EveryWidth) {
  for (int64_t n = 1; n <= 70; n += 3) check({.w = 27, .cin = 33, .cout = n});
}

TEST(Bf16, WindowsInPlace) {
  for (const ConvProblem& p : windows_in_place()) check(p);
}

TEST(Bf16, Convolutions) {
  check({.n = 2,
         .h = 9,
         .w = 7,
         .cin = 18,
         .cout = 21,
         .kh = 3,
         .kw = 3,
         .stride_h = 2,
         .stride_w = 2,
         .pad_top = 1,
         .pad_left = 1,
         .pad_bottom = 1,
         .pad_right = 1});
  check({.h = 15,
         .w = 17,
         .cin = 3,
         .cout = 20,
         .kh = 7,
         .kw = 7,
         .stride_h = 2,
         .stride_w = 2,
         .pad_top = 3,
         .pad_left = 3,
         .pad_bottom = 3,
         .pad_right = 3});
  check({.h = 12,
         .w = 11,
         .cin = 5,
         .cout = 6,
         .kh = 3,
         .kw = 2,
         .dilation_h = 2,
         .dilation_w = 3,
         .pad_top = 2,
         .pad_left = 4,
         .pad_right = 1});
  check({.h = 8,
         .w = 8,
         .cin = 64,
         .cout = 64,
         .kh = 3,
         .kw = 3,
         .pad_top = 1,
         .pad_left = 1,
         .pad_bottom = 1,
         .pad_right = 1});
}

TEST(Bf16, Groups) {
  for (int64_t groups : {2, 6, 8})
    for (int64_t each : {1, 5, 19})
      check({.h = 4,
             .w = 5,
             .cin = groups * 3,
             .cout = groups * each,
             .kh = 3,
             .kw = 3,
             .stride_h = 2,
             .pad_top = 1,
             .pad_left = 1,
             .groups = groups});
}

// A factor halfway between two values goes to the even one: 1 + 2^-8 to 1, 1 + 3 * 2^-8 to 1 + 2^-6. What overflows
// becomes an infinity, and no number stays none.
TEST(Bf16, RoundsFactorsToNearestEven) {
  const ConvProblem p{.w = 5, .cin = 1, .cout = 1};
  Data data(p);
  data.x = {1 + 0x1p-8f, 1 + 3 * 0x1p-8f, -(1 + 0x1p-8f + 0x1p-20f), FLT_MAX, NAN};
  data.w = {1};
  data.weights.data = data.w.data();
  for (const Named& named : kernels()) {
    SCOPED_TRACE(named.name);
    const auto y = run(p, *named.kernel, {}, data, {});
    EXPECT_EQ(y[0], 1);
    EXPECT_EQ(y[1], 1 + 0x1p-6f);
    EXPECT_EQ(y[2], -(1 + 0x1p-7f));
    EXPECT_EQ(y[3], INFINITY);
    EXPECT_TRUE(std::isnan(y[4]));
    data.w[0] = 1 + 3 * 0x1p-8f;
    EXPECT_EQ(run(p, *named.kernel, {}, data, {})[0], 1 + 0x1p-6f) << "of weights";
    data.w[0] = 1;
  }
}

TEST(Bf16, PlanesBecomePixels) {
  if (!has_bf16_set(Bf16Set::avx512)) GTEST_SKIP() << "this CPU has no bf16";
  for (int64_t channels : {1, 3, 17})
    for (int64_t pixels : {1, 255, 700})
      for (int threads : {1, 2}) {
        const auto x = random_floats(2 * channels * pixels);
        std::vector<bf16> y(x.size());
        ThreadPool pool(threads);
        planes_to_pixels({2, channels, pixels}, x.data(), y.data(), pool);
        size_t i = 0;
        for_each_index({2, pixels, channels}, [&](const std::vector<int64_t>& at) {
          const float from = x[static_cast<size_t>((at[0] * channels + at[2]) * pixels + at[1])];
          ASSERT_EQ(to_float(y[i]), rounded(from)) << "element " << i;
          ++i;
        });
      }
}

// A result written over the residual is the same.
TEST(Bf16, OverItsResidual) {
  const ConvProblem p{.w = 50, .cin = 20, .cout = 45};
  const Data data(p);
  for (const Named& named : kernels()) {
    const auto want = run(p, *named.kernel, {}, data, {.residual = data.residual.data()});
    auto y = data.residual;
    Workspace packed(bf16_packed_bytes(p, *named.kernel)), workspace(bf16_workspace_bytes(p, *named.kernel, {}));
    bf16_pack(p, *named.kernel, data.weights, packed.get());
    ThreadPool pool(1);
    bf16_conv(p, *named.kernel, {},
              {.in = data.x.data(),
               .packed = packed.get(),
               .out = y.data(),
               .epilogue = {.residual = y.data()},
               .workspace = workspace.get(),
               .pool = &pool});
    EXPECT_EQ(y, want) << named.name;
  }
}

}  // namespace
}  // namespace hone::cpu
