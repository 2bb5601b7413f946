// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/conv/conv.h"

#include <gtest/gtest.h>

#include <array>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "kernels/cpu/bf16/bf16.h"
#include "kernels/cpu/conv/conv_transpose.h"
#include "kernels/kernel_testing.h"
#include "kernels/transposed_reference.h"

namespace hone::cpu {
namespace {

// Of at most 1, which the tolerances count on.
std::vector<float> unit_floats(int64_t n, unsigned seed) { return random_floats(n, seed, -1.f, 1.f); }

std::string text(const ConvProblem& p) {
  std::string s;
  for (int64_t v : {p.n, p.h, p.w, p.cin, p.cout, p.kh, p.kw, p.stride_h, p.stride_w, p.dilation_h, p.pad_top,
                    p.pad_left, p.pad_bottom, p.pad_right, p.groups, p.in_ldc, p.out_ldc})
    s += std::to_string(v) + " ";
  return s;
}

// Everything a run needs, and what the reference makes of it.
struct Case {
  ConvProblem p;
  std::vector<float> in, weights, bias, residual;
  Epilogue ep;
  bool with_residual = true;

  explicit Case(const ConvProblem& problem, const Epilogue& epilogue = {}) : p(problem), ep(epilogue) {
    in = unit_floats(p.n * p.h * p.w * p.in_pitch(), 1);
    weights = unit_floats(p.cout * (p.cin / p.groups) * p.kh * p.kw, 2);
    bias = unit_floats(p.cout, 3);
    residual = unit_floats(p.n * p.out_h() * p.out_w() * p.out_pitch(), 4);
    ep.bias = bias.data();
  }

  std::vector<float> run(const ConvAlgorithm& a, const ConvContext& ctx, ThreadPool& pool) const {
    Workspace packed(a.packed_bytes(p, ctx.tier));
    a.pack(p, ctx.tier, weights.data(), packed.get());
    Workspace workspace(a.workspace_bytes(p, ctx));
    std::vector<float> out = residual;  // in place, the hardest case
    Epilogue e = ep;
    if (with_residual) e.residual = out.data();
    a.run(p, ctx, {in.data(), packed.get(), out.data(), e, workspace.get(), &pool});
    return out;
  }

  // The same with tensors in bf16.
  std::vector<float> run_in_bf16(const ConvAlgorithm& a, ConvContext ctx, ThreadPool& pool) const {
    ctx.in_bf16 = true;
    Workspace packed(a.packed_bytes(p, ctx.tier)), workspace(a.workspace_bytes(p, ctx));
    a.pack(p, ctx.tier, weights.data(), packed.get());
    const auto x = cpu::in_bf16(in);
    auto out = cpu::in_bf16(residual);
    Epilogue e = ep;
    if (with_residual) e.residual = out.data();
    a.run(p, ctx, {x.data(), packed.get(), out.data(), e, workspace.get(), &pool});
    return in_f32(out);
  }

  Case rounded() const {
    Case c = *this;
    c.in = in_f32(cpu::in_bf16(in));
    c.residual = in_f32(cpu::in_bf16(residual));
    c.ep.bias = c.bias.data();
    return c;
  }
};

// The largest result without an activation.
double range_of(Case c) {
  ThreadPool pool(1);
  c.ep.act = Activation::none;
  c.ep.bias = c.bias.data();
  double largest = 0;
  for (float x : c.run(*find_conv_algorithm("conv_reference"), {}, pool))
    largest = std::max(largest, std::fabs(double{x}));
  return largest;
}

// |error| <= roundings * eps * sum |a * b|, with sum |a * b| <= the number of products. No activation is steeper than
// 3 / 2.
double tolerance(const ConvProblem& p, const ConvAlgorithm& a, const Case& c, double range) {
  const double k = static_cast<double>(p.kh * p.kw * p.cin / p.groups);
  const double direct = (k + 8) * FLT_EPSILON * (k / 4 + 3);
  return a.error_bound == nullptr ? direct : direct / 4 + 1.5 * a.error_bound(p, c.weights.data()) * range;
}

void compare(const Case& c, const std::vector<float>& got, const std::vector<float>& want,
             const std::function<double(double)>& tol) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (static_cast<int64_t>(i) % c.p.out_pitch() >= c.p.cout)
      ASSERT_EQ(got[i], want[i]) << "wrote outside its channels at " << i;
    else ASSERT_NEAR(got[i], want[i], tol(want[i])) << "at " << i;
  }
}

// Every row of the table that supports the problem, on each tier, with one and two threads, with each
// variant a tuner would try.
void check(const ConvProblem& p, const Epilogue& ep = {}) {
  const Case c(p, ep);
  ThreadPool pools[2] = {ThreadPool(1), ThreadPool(2)};
  const auto want = c.run(*find_conv_algorithm("conv_reference"), {}, pools[0]);
  const double range = range_of(c);
  const Case rounded = c.rounded();
  const auto want_of_rounded = rounded.run(*find_conv_algorithm("conv_reference"), {}, pools[0]);
  for (const ConvAlgorithm* a : conv_algorithms()) {
    if (a->supports(p) != nullptr) continue;
    for (int tier = static_cast<int>(a->least_tier); tier <= static_cast<int>(best_tier()); ++tier)
      for (int threads : {1, 2}) {
        ConvContext ctx{static_cast<Tier>(tier), threads};
        std::array<ConvVariant, 32> variants;
        const size_t count = a->candidates(p, ctx, variants);
        ASSERT_GE(count, 1u);
        ASSERT_EQ(variants[0], ConvVariant{});
        for (size_t v = 0; v < count; ++v) {
          SCOPED_TRACE(std::string(a->name) + " " + tier_name(ctx.tier) + " threads " + std::to_string(threads) +
                       " variant " + std::to_string(v) + ": " + text(p));
          ctx.variant = variants[v];
          const double most = tolerance(p, *a, c, range);
          if (a->takes_f32) compare(c, c.run(*a, ctx, pools[threads - 1]), want, [=](double) { return most; });
          if (a->takes_bf16 && ctx.tier == Tier::avx512 && has_bf16_set(Bf16Set::avx512))
            compare(rounded, rounded.run_in_bf16(*a, ctx, pools[threads - 1]), want_of_rounded,
                    [=](double w) { return most + bf16_rounding(w, most); });
          if (testing::Test::HasFatalFailure()) return;
        }
      }
  }
}

ConvProblem square(int64_t n, int64_t hw, int64_t cin, int64_t cout, int64_t k, int64_t stride, int64_t pad) {
  ConvProblem p{.n = n, .h = hw, .w = hw, .cin = cin, .cout = cout, .kh = k, .kw = k};
  p.stride_h = p.stride_w = stride;
  p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = pad;
  return p;
}

TEST(Conv, Pointwise) {
  check(square(2, 9, 13, 37, 1, 1, 0));
  check(square(1, 11, 16, 24, 1, 2, 0));
  check(square(1, 7, 600, 70, 1, 1, 0));
  check(square(1, 7, 130, 140, 1, 1, 0));   // quarters of odd numbers of rows
  check(square(3, 13, 128, 200, 1, 2, 0));  // and of columns that fill no panel
}

TEST(Conv, ThreeByThree) {
  check(square(1, 9, 8, 16, 3, 1, 1));
  check(square(2, 13, 19, 35, 3, 1, 1));
  check(square(1, 7, 120, 40, 3, 1, 1));
  check(square(1, 6, 10, 9, 3, 1, 0));
  check(square(1, 12, 12, 20, 3, 2, 1));
}

TEST(Conv, FourByFour) {
  check(square(1, 11, 8, 16, 4, 1, 1));
  check(square(2, 13, 19, 35, 4, 1, 2));
}

TEST(Conv, Stems) {
  check(square(1, 30, 3, 17, 7, 2, 3));
  check(square(2, 31, 3, 70, 7, 2, 2));
  check(square(1, 33, 3, 40, 11, 4, 2));
  check(square(1, 13, 5, 40, 5, 2, 2));
  check(square(2, 15, 3, 16, 3, 2, 1));
  check(square(1, 10, 1, 5, 5, 1, 2));
}

TEST(Conv, FewOutputChannels) {
  for (int64_t cout = 1; cout <= 9; ++cout) check(square(2, 9, 13, cout, 3, 1, 1));
  ConvProblem signal{.n = 2, .h = 1, .w = 301, .cin = 1, .cout = 1, .kh = 1, .kw = 64};
  signal.stride_w = 2;
  signal.pad_left = 5;
  check(signal);
  ConvProblem wide{.n = 1, .h = 7, .w = 50, .cin = 8, .cout = 8, .kh = 3, .kw = 39};
  wide.pad_left = wide.pad_right = 19;
  wide.pad_top = wide.pad_bottom = 1;
  check(wide, {.act = Activation::sigmoid});
  wide.dilation_w = 2;
  wide.in_ldc = 11;
  wide.pad_left = wide.pad_right = 38;
  check(wide);
}

TEST(Conv, UnevenGeometry) {
  ConvProblem p{.n = 2, .h = 8, .w = 14, .cin = 11, .cout = 21, .kh = 3, .kw = 5};
  p.stride_w = 2;
  p.dilation_h = 2;
  p.pad_top = 1;
  p.pad_left = 3;
  p.pad_right = 1;
  check(p);
  p.cin = 3;
  p.dilation_w = 2;
  check(p);
  ConvProblem line{.n = 1, .h = 1, .w = 50, .cin = 20, .cout = 9, .kh = 1, .kw = 4};
  line.pad_left = 2;
  check(line);
  ConvProblem edge = square(1, 6, 9, 11, 3, 1, 1);  // Winograd with different paddings
  edge.w = 11;
  edge.pad_left = 2;
  edge.pad_bottom = 0;
  check(edge);
}

TEST(Conv, SlicesOfWiderTensors) {
  for (ConvProblem p : {square(1, 9, 16, 21, 3, 1, 1), square(1, 9, 16, 21, 1, 1, 0), square(1, 9, 3, 8, 3, 2, 1),
                        square(1, 17, 3, 8, 7, 2, 3), square(1, 9, 128, 134, 1, 1, 0)}) {
    p.in_ldc = p.cin + 5;
    p.out_ldc = p.cout + 7;
    check(p);
  }
  ConvProblem p = square(1, 9, 21, 21, 3, 1, 1);
  p.groups = 21;
  p.in_ldc = 25;
  p.out_ldc = 30;
  check(p);
}

TEST(Conv, Depthwise) {
  for (int64_t k : {2, 3, 5, 7})
    for (int64_t stride : {1, 2, 3})
      for (int64_t channels : {8, 21}) {
        ConvProblem p = square(1, 19, channels, channels, k, stride, k / 2);
        p.groups = channels;
        check(p);
      }
  for (int64_t width = 1; width <= 17; ++width)  // blocks of all widths, at no border, at one and at both
    for (int64_t k : {3, 5})
      for (int64_t stride : {1, 2}) {
        ConvProblem p = square(1, 5, 18, 18, k, stride, k / 2);
        p.groups = 18;
        p.w = width;
        check(p);
        if (width % 4 != 3) continue;
        p.kh = 1;
        check(p);
        p.kh = 7;
        p.pad_top = 3;
        check(p);
      }
  ConvProblem p = square(2, 12, 18, 18, 3, 1, 2);
  p.groups = 18;
  p.dilation_h = p.dilation_w = 2;
  check(p);
  p.pad_top = 6;  // whole rows of windows in the padding
  check(p);
}

TEST(Conv, Grouped) {
  for (int64_t groups : {2, 3, 4, 8}) {
    ConvProblem p = square(1, 8, groups * 5, groups * 7, 3, 1, 1);
    p.groups = groups;
    check(p);
    p.cin = groups * 4;
    p.cout = groups * 2;
    check(p);
  }
  ConvProblem multiplier = square(1, 8, 6, 18, 3, 2, 1);
  multiplier.groups = 6;
  check(multiplier);
}

TEST(Conv, Epilogues) {
  for (Activation act :
       {Activation::relu, Activation::clip, Activation::leaky_relu, Activation::hard_swish, Activation::hard_sigmoid,
        Activation::sigmoid, Activation::silu, Activation::tanh, Activation::gelu_erf})
    for (bool after : {false, true}) {
      const Epilogue ep{.act = act, .a = 0.2f, .b = 0.5f, .residual_after_activation = after};
      check(square(1, 6, 8, 19, 3, 1, 1), ep);
      ConvProblem p = square(1, 6, 19, 19, 3, 1, 1);
      p.groups = 19;
      check(p, ep);
    }
}

TEST(Conv, HookSeesEachOutputOnce) {
  for (ConvProblem p :
       {square(2, 9, 16, 40, 3, 1, 1), square(2, 9, 40, 40, 3, 1, 1), square(1, 9, 128, 140, 1, 1, 0)}) {
    if (p.cin == 40) p.groups = 40;
    std::vector<int> seen(static_cast<size_t>(p.n * 81 * p.cout), 0);
    Case c(p);
    c.ep.hook_user = seen.data();
    c.ep.tile_hook = [](void* user, void*, int64_t row0, int64_t rows, int64_t col0, int64_t cols, int64_t ld) {
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < cols; ++j) ++static_cast<int*>(user)[(row0 + i) * ld + col0 + j];
    };
    ThreadPool pool(2);
    for (const ConvAlgorithm* a : conv_algorithms()) {
      if (a->supports(p) != nullptr || !a->takes_f32) continue;
      std::fill(seen.begin(), seen.end(), 0);
      c.run(*a, {.threads = 2}, pool);
      for (int s : seen) ASSERT_EQ(s, 1) << a->name;
    }
  }
}

// Beside the bound, a result is rounded to bf16 once more.
void check_bound_in_bf16(const Case& c, const ConvAlgorithm& a, ThreadPool& pool) {
  const auto want = c.run(*find_conv_algorithm("conv_reference"), {.threads = 2}, pool);
  const auto got = c.run_in_bf16(a, {.tier = Tier::avx512, .threads = 2}, pool);
  double largest = 0, error = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    largest = std::max(largest, std::fabs(double{want[i]}));
    error = std::max(error, std::fabs(double{got[i]} - want[i]) - bf16_rounding(want[i], 0));
  }
  const double bound = a.error_bound(c.p, c.weights.data());
  std::printf("%s, %d channels: error %.1e, bound %.1e\n", a.name, int(c.p.cin), error / largest, bound);
  EXPECT_LT(error / largest, bound) << a.name;
  EXPECT_LT(bound, 30 * error / largest) << a.name;
}

// The stated bound covers measured errors, and is not so loose as to be useless.
TEST(Conv, ErrorBoundsAreHonest) {
  ThreadPool pool(2);
  for (int64_t kernel : {7, 4, 3, 1})
    for (int64_t stride : {1, 2})
      for (int64_t channels : {16, 64, 256}) {
        Case c(square(1, 16, channels, 128, kernel, stride, kernel / 2));
        c.with_residual = false;
        const auto want = c.run(*find_conv_algorithm("conv_reference"), {.threads = 2}, pool);
        double largest = 0;
        for (float x : want) largest = std::max(largest, std::fabs(double{x}));
        for (const ConvAlgorithm* a : conv_algorithms()) {
          if (a->error_bound == nullptr || a->supports(c.p) != nullptr) continue;
          if (!a->takes_f32 && !has_bf16_set(Bf16Set::avx512)) continue;
          if (!a->takes_f32) {
            check_bound_in_bf16(c.rounded(), *a, pool);
            continue;
          }
          const auto got = c.run(*a, {.threads = 2}, pool);
          double error = 0;
          for (size_t i = 0; i < want.size(); ++i) error = std::max(error, std::fabs(double{got[i]} - want[i]));
          const double bound = a->error_bound(c.p, c.weights.data());
          std::printf("%s, %d channels: error %.1e, bound %.1e\n", a->name, int(channels), error / largest, bound);
          EXPECT_LT(error / largest, bound) << a->name;
          EXPECT_LT(bound, 30 * error / largest) << a->name;
        }
      }
}

TEST(Conv, RefusalsGiveReasons) {
  const ConvProblem p = square(1, 8, 16, 16, 5, 2, 2);
  EXPECT_STREQ(find_conv_algorithm("conv_winograd_f4")->supports(p), "kernel is not 3x3");
  EXPECT_STREQ(find_conv_algorithm("conv_1x1")->supports(p), "kernel is not 1x1");
  EXPECT_EQ(conv_algorithms().back()->supports(p), nullptr);
  EXPECT_EQ(find_conv_algorithm("no such thing"), nullptr);
}

void check_transposed(const ConvTransposeProblem& p) {
  const auto in = unit_floats(p.n * p.h * p.w * p.in_pitch(), 1);
  const auto weights = unit_floats(p.cin * (p.cout / p.groups) * p.kh * p.kw, 2);
  const auto bias = unit_floats(p.cout, 3);
  const auto want = transposed_reference(p, in, weights);
  const double k = static_cast<double>(p.kh * p.kw * p.cin / p.groups), tol = (k + 8) * FLT_EPSILON * (k / 4 + 3);
  for (int tier = 0; tier <= static_cast<int>(best_tier()); ++tier)
    for (int threads : {1, 2}) {
      const ConvContext ctx{static_cast<Tier>(tier), threads};
      SCOPED_TRACE(std::string(tier_name(ctx.tier)) + " threads " + std::to_string(threads));
      ThreadPool pool(threads);
      Workspace packed(conv_transpose_packed_bytes(p, ctx.tier)), workspace(conv_transpose_workspace_bytes(p, ctx));
      conv_transpose_pack(p, ctx.tier, weights.data(), packed.get());
      std::vector<float> out(static_cast<size_t>(p.n * p.out_h() * p.out_w() * p.out_pitch()), -9.f);
      const Epilogue ep{.bias = bias.data(), .act = Activation::relu};
      conv_transpose(p, ctx, {in.data(), packed.get(), out.data(), ep, workspace.get(), &pool});
      for (size_t i = 0; i < out.size(); ++i) {
        const int64_t pixel = static_cast<int64_t>(i) / p.out_pitch(), c = static_cast<int64_t>(i) % p.out_pitch();
        if (c >= p.cout) {
          ASSERT_EQ(out[i], -9.f);
        } else {
          ASSERT_NEAR(out[i], std::max(0.0, want[pixel * p.cout + c] + bias[c]), tol) << "pixel " << pixel;
        }
      }
    }
}

TEST(ConvTranspose, AgainstScatter) {
  for (int64_t k : {1, 2, 3, 4})
    for (int64_t stride : {1, 2, 3})
      for (int64_t groups : {1, 2}) {
        ConvTransposeProblem p{.n = 2, .h = 5, .w = 7, .cin = 6, .cout = 22, .kh = k, .kw = k};
        p.stride_h = p.stride_w = stride;
        p.pad_top = k / 2;
        p.pad_right = k / 3;
        p.groups = groups;
        p.output_padding_w = stride - 1;
        SCOPED_TRACE("kernel " + std::to_string(k) + " stride " + std::to_string(stride));
        check_transposed(p);
      }
  ConvTransposeProblem p{.n = 1, .h = 4, .w = 4, .cin = 40, .cout = 5, .kh = 3, .kw = 3};
  p.stride_h = 2;
  p.dilation_h = p.dilation_w = 2;
  p.in_ldc = 44;
  p.out_ldc = 9;
  check_transposed(p);
}

}  // namespace
}  // namespace hone::cpu
