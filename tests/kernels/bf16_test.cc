#include "kernels/cpu/bf16/bf16.h"

#include <fmt/format.h>

#include "amx_emulation.h"
#include "base/dtype.h"
#include "kernel_testing.h"
#include "kernels/cpu/attention/bf16_attention.h"
#include "kernels/cpu/bf16/tiles_impl.inc"
#include "kernels/cpu/planes/planes.h"
#include "transposed_reference.h"
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

// Every phase of the outputs is a convolution of its own.
void check_transposed(const ConvTransposeProblem& p) {
  const auto x = random_floats(p.n * p.h * p.w * p.in_pitch(), 1);
  const auto w = random_floats(p.cin * (p.cout / p.groups) * p.kh * p.kw, 2), bias = random_floats(p.cout, 3);
  const auto sizes = [](std::vector<float> values) {
    for (float& v : values) v = std::fabs(v);
    return values;
  };
  const auto rounded_x = in_f32(in_bf16(x)), rounded_w = in_f32(in_bf16(w));
  const auto sums = transposed_reference(p, rounded_x, rounded_w);
  const auto magnitudes = transposed_reference(p, sizes(rounded_x), sizes(rounded_w));
  const auto residual = random_floats(p.n * p.out_h() * p.out_w() * p.out_pitch(), 4);
  for (const Named& named : kernels())
    for (const int threads : {1, 2}) {
      if (threads > 1 && named.kernel == kernels().front().kernel) continue;  // emulated tiles are one thread's
      SCOPED_TRACE(named.name + ", threads " + std::to_string(threads));
      Workspace packed(bf16_transposed_packed_bytes(p, *named.kernel));
      Workspace workspace(bf16_transposed_workspace_bytes(p, *named.kernel, threads));
      bf16_transposed_pack(p, *named.kernel, w.data(), packed.get());
      ThreadPool pool(threads);
      const auto run = [&](bool stored, const void* in, void* out, const void* added) {
        bf16_conv_transpose(p, *named.kernel, threads,
                            {.in_bf16 = stored,
                             .in = in,
                             .packed = packed.get(),
                             .out = out,
                             .epilogue = {.bias = bias.data(), .residual = added, .act = Activation::relu},
                             .workspace = workspace.get(),
                             .pool = &pool});
      };
      auto got = residual;  // over the residual
      run(false, x.data(), got.data(), got.data());
      auto short_got = in_bf16(residual);
      run(true, in_bf16(x).data(), short_got.data(), short_got.data());
      for (size_t i = 0; i < got.size(); ++i) {
        const size_t pixel = i / static_cast<size_t>(p.out_pitch()), c = i % static_cast<size_t>(p.out_pitch());
        if (c >= static_cast<size_t>(p.cout)) {
          ASSERT_EQ(got[i], residual[i]) << "of another tensor";
          continue;
        }
        const size_t at = pixel * static_cast<size_t>(p.cout) + c;
        const double own = bias[c], most = tolerance({sums[at], magnitudes[at]}, p.kh * p.kw * p.cin / p.groups,
                                                     std::fabs(own) + std::fabs(residual[i]));
        ASSERT_NEAR(got[i], std::max(0., sums[at] + own + residual[i]), most) << "pixel " << pixel;
        const double want = std::max(0., sums[at] + own + rounded(residual[i]));
        ASSERT_NEAR(to_float(short_got[i]), want, most + bf16_rounding(want, most)) << "pixel " << pixel;
      }
    }
}

TEST(Bf16, TransposedConvolutions) {
  for (const int64_t k : {1, 2, 3, 4})
    for (const int64_t stride : {1, 2, 3})
      for (const int64_t groups : {1, 2}) {
        SCOPED_TRACE("kernel " + std::to_string(k) + " stride " + std::to_string(stride));
        check_transposed({.n = 2,
                          .h = 5,
                          .w = 7,
                          .cin = 6,
                          .cout = 22,
                          .kh = k,
                          .kw = k,
                          .stride_h = stride,
                          .stride_w = stride,
                          .pad_top = k / 2,
                          .pad_right = k / 3,
                          .output_padding_w = stride - 1,
                          .groups = groups});
      }
  check_transposed({.h = 4,
                    .w = 4,
                    .cin = 40,
                    .cout = 5,
                    .kh = 3,
                    .kw = 3,
                    .stride_h = 2,
                    .dilation_h = 2,
                    .dilation_w = 2,
                    .in_ldc = 44,
                    .out_ldc = 9});
  // Lines longer than a block of rows, and more input cut off than a window has.
  check_transposed({.h = 2,
                    .w = 900,
                    .cin = 70,
                    .cout = 40,
                    .kh = 2,
                    .kw = 2,
                    .stride_h = 2,
                    .stride_w = 2,
                    .pad_top = 3,
                    .pad_left = 5});
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

// Two activations: what check() says of a 1x1 convolution, for each item of a batch.
void check_product(const Bf16Product& p) {
  std::vector<Data> items;
  std::vector<float> x, b, residual;
  const ConvProblem one{.w = p.m, .cin = p.k, .cout = p.n};
  for (int64_t item = 0; item < p.batch; ++item) {
    Data data(one);
    for (float& v : data.x) v += static_cast<float>(item);
    data.sums = reference(one, data.x, data.w);
    x.insert(x.end(), data.x.begin(), data.x.end());
    residual.insert(residual.end(), data.residual.begin(), data.residual.end());
    for (int64_t i = 0; i < p.k * p.n; ++i)  // the reference's weights lie column by column
      b.push_back(data.w[static_cast<size_t>(p.transposed ? i : i % p.n * p.k + i / p.n)]);
    items.push_back(std::move(data));
  }
  const std::vector<float>& bias = items[0].bias;
  for (const Named& named : kernels()) {
    const bool emulated = named.kernel == kernels().front().kernel;
    std::vector<ProductSharing> ways{{}, {.tasks = 3, .in_place = true}};
    if (!emulated) ways.push_back({.threads = 2, .tasks = 2});
    for (const ProductSharing& sharing : ways) {
      SCOPED_TRACE(fmt::format("{}, {} x {} x {}, threads {}, tasks {}", named.name, p.m, p.n, p.k, sharing.threads,
                               sharing.tasks));
      Workspace workspace(bf16_product_workspace_bytes(p, *named.kernel, sharing));
      ThreadPool pool(sharing.threads);
      const auto product = [&](bool in_bf16, const void* left, const void* right, void* out, const void* added) {
        bf16_product(p, *named.kernel, sharing,
                     {.in_bf16 = in_bf16,
                      .in = left,
                      .packed = right,
                      .out = out,
                      .epilogue = {.bias = bias.data(), .residual = added, .act = Activation::relu},
                      .workspace = workspace.get(),
                      .pool = &pool});
      };
      std::vector<float> got(residual.size(), NAN);
      product(false, x.data(), b.data(), got.data(), residual.data());
      auto short_got = in_bf16(residual);  // over the residual
      product(true, in_bf16(x).data(), in_bf16(b).data(), short_got.data(), short_got.data());
      for (size_t i = 0; i < got.size(); ++i) {
        const Sum& sum = items[i / items[0].sums.size()].sums[i % items[0].sums.size()];
        const double own = bias[i % bias.size()], added = residual[i];
        const double most = tolerance(sum, p.k, std::fabs(own) + std::fabs(added));
        ASSERT_NEAR(got[i], std::max(0., sum.value + own + added), most) << "at " << i;
        const double want = std::max(0., sum.value + own + rounded(residual[i]));
        ASSERT_NEAR(to_float(short_got[i]), want, most + bf16_rounding(want, most)) << "at " << i;
      }
    }
  }
}

TEST(Bf16, TwoActivations) {
  for (const bool transposed : {false, true}) {
    for (const int64_t k : {1, 2, 3, 31, 32, 33, 64, 77})
      for (const int64_t n : {1, 16, 31, 32, 33, 70})
        check_product({.batch = 2, .m = 13, .n = n, .k = k, .transposed = transposed});
    for (const int64_t m : {1, 11, 12, 25, 40, 100})
      check_product({.batch = 3, .m = m, .n = 35, .k = 18, .transposed = transposed});
    // More panels than are packed at once, whatever the caches.
    check_product({.m = 5, .n = 3000, .k = 700, .transposed = transposed});
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

// What attention_test.cc says of the best kernel, for each: off by the weights' rounding, 2^-8 of the largest value.
TEST(Bf16, Attention) {
  if (!has_bf16_set(Bf16Set::avx512)) GTEST_SKIP() << "softmax and transpositions are those of AVX-512";
  AttentionProblem p{.batch = 2, .heads = 2, .kv_heads = 1, .queries = 37, .keys = 45, .depth = 19, .value_depth = 70};
  p.q = {p.queries * p.heads * p.depth, p.depth, p.heads * p.depth};
  p.k = {p.keys * p.depth, p.depth, p.depth};
  p.v = {p.keys * p.value_depth, p.value_depth, p.value_depth};
  p.y = {p.queries * p.heads * p.value_depth, p.value_depth, p.heads * p.value_depth};
  p.mask = {0, 0, p.keys};
  const auto q = in_bf16(random_floats(p.batch * p.q.batch, 1)), k = in_bf16(random_floats(p.batch * p.k.batch, 2)),
             v = in_bf16(random_floats(p.batch * p.v.batch, 3));
  const auto q_f32 = in_f32(q), k_f32 = in_f32(k), v_f32 = in_f32(v);
  const auto mask = random_floats(p.queries * p.keys, 4);
  const double slack = std::ldexp(largest_magnitude(v), -8);
  for (const bool causal : {false, true}) {
    p.causal = causal;
    for (const float* const added : {static_cast<const float*>(nullptr), mask.data()}) {
      std::vector<float> want(static_cast<size_t>(p.batch * p.y.batch));
      std::vector<bf16> got(want.size());
      ThreadPool pool(1);
      Workspace of_floats(attention_workspace_bytes(p, Tier::avx512, 1));
      const AttentionTensors<float> floats{q_f32.data(), k_f32.data(), v_f32.data(), added, want.data()};
      attention(p, Tier::avx512, floats, of_floats.get(), pool);
      for (const Named& named : kernels()) {
        Workspace workspace(attention_bf16_workspace_bytes(p, *named.kernel, 1));
        const AttentionTensors<bf16> halves{q.data(), k.data(), v.data(), added, got.data()};
        attention_bf16(p, *named.kernel, halves, workspace.get(), pool);
        for (size_t i = 0; i < want.size(); ++i)
          ASSERT_NEAR(to_float(got[i]), want[i], slack + bf16_rounding(want[i], slack)) << named.name << " at " << i;
      }
    }
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
