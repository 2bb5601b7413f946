#include "kernels/cpu/int8/int8.h"

#include "amx_emulation.h"
#include "kernel_testing.h"
#include "kernels/cpu/int8/tiles_impl.inc"
#include "window_cases.h"

namespace hone::cpu {
namespace {

// Small sums, and the largest that there are.
std::vector<int8_t> bytes(int64_t n, unsigned seed, bool extreme) {
  std::mt19937 gen(seed);
  std::uniform_int_distribution<int> dist(-128, 127);
  std::vector<int8_t> v(static_cast<size_t>(n));
  for (auto& x : v) x = static_cast<int8_t>(extreme ? (dist(gen) > 120 ? 127 : -128) : dist(gen));
  return v;
}

// The values of x are taken for u8 where that is asked for.
std::vector<int32_t> reference(const ConvProblem& p, const std::vector<int8_t>& x, const std::vector<int8_t>& w,
                               bool unsigned_in) {
  const auto value = [&](int64_t i) {
    const int8_t v = x[static_cast<size_t>(i)];
    return unsigned_in ? int{static_cast<uint8_t>(v)} : int{v};
  };
  const int64_t cin = p.cin / p.groups, cout = p.cout / p.groups;
  std::vector<int32_t> y;
  for_each_index({p.n, p.out_h(), p.out_w(), p.cout}, [&](const std::vector<int64_t>& at) {
    int32_t sum = 0;
    for_each_index({p.kh, p.kw, cin}, [&](const std::vector<int64_t>& k) {
      const int64_t iy = at[1] * p.stride_h - p.pad_top + k[0] * p.dilation_h;
      const int64_t ix = at[2] * p.stride_w - p.pad_left + k[1] * p.dilation_w;
      if (iy < 0 || iy >= p.h || ix < 0 || ix >= p.w) return;
      const int64_t from = ((at[0] * p.h + iy) * p.w + ix) * p.cin + at[3] / cout * cin + k[2];
      sum += value(from) * w[static_cast<size_t>(((at[3] * cin + k[2]) * p.kh + k[0]) * p.kw + k[1])];
    });
    y.push_back(sum);
  });
  return y;
}

std::vector<Int8Set> sets() {
  std::vector<Int8Set> all;
  for (int i = 0; i <= static_cast<int>(Int8Set::amx); ++i)
    if (has_int8_set(static_cast<Int8Set>(i))) all.push_back(static_cast<Int8Set>(i));
  return all;
}

struct Data {
  std::vector<int8_t> x, w;
  std::vector<int32_t> sums;
  Int8Weights weights;

  Data(const ConvProblem& p, bool extreme, bool unsigned_in)
      : x(bytes(p.n * p.h * p.w * p.cin, 1, extreme)),
        w(bytes(p.cout * p.cin / p.groups * p.kh * p.kw, 2, extreme)),
        sums(reference(p, x, w, unsigned_in)),
        weights{w.data(), p.cin / p.groups * p.kh * p.kw, p.kh * p.kw, 1} {}
};

// Calls run(workspace, pool, threads) and compares the sums.
void check_sums(const ConvProblem& p, const Int8Context& context) {
  for (bool extreme : {false, true}) {
    const Data data(p, extreme, context.unsigned_in);
    SCOPED_TRACE(std::string(int8_set_name(context.set)) + (extreme ? ", extreme" : "") +
                 (context.unsigned_in ? ", u8" : "") + ", threads " + std::to_string(context.threads) + ", split " +
                 std::to_string(context.split) + ", depth " + std::to_string(p.cin * p.kh * p.kw));
    Workspace packed(int8_packed_bytes(p, context.set)), workspace(int8_workspace_bytes(p, context));
    int8_pack(p, context, data.weights, packed.get());
    std::vector<int32_t> y(data.sums.size(), 7);
    ThreadPool pool(context.threads);
    int8_conv(p, context,
              {.in = data.x.data(),
               .packed = packed.get(),
               .out = y.data(),
               .epilogue = {},
               .workspace = workspace.get(),
               .pool = &pool});
    ASSERT_EQ(y, data.sums);
  }
}

void check(const ConvProblem& p) {
  for (Int8Set set : sets()) {
    for (bool unsigned_in : {false, true}) {
      check_sums(p, {.set = set, .unsigned_in = unsigned_in});
      for (int split : {1, 2})
        check_sums(p, {.set = set, .unsigned_in = unsigned_in, .threads = 2, .split = split, .row_block = 5});
    }
  }
}

TEST(Int8, EveryDepth) {
  for (int64_t k = 1; k <= 70; ++k) check({.w = 14, .cin = k, .cout = 19});
}

TEST(Int8, EveryWidth) {
  for (int64_t n = 1; n <= 70; n += 3) check({.w = 27, .cin = 33, .cout = n});
}

TEST(Int8, WindowsInPlace) {
  for (const ConvProblem& p : windows_in_place()) check(p);
}

TEST(Int8, Convolutions) {
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
  check({.h = 2,
         .w = 2,
         .cin = 5,
         .cout = 6,
         .kh = 5,
         .kw = 5,
         .pad_top = 6,
         .pad_left = 7,
         .pad_bottom = 5,
         .pad_right = 3});
  check({.h = 6,
         .w = 5,
         .cin = 12,
         .cout = 8,
         .kh = 3,
         .kw = 3,
         .pad_top = 1,
         .pad_left = 1,
         .pad_bottom = 1,
         .pad_right = 1,
         .groups = 4});
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

TEST(Int8, Groups) {
  for (int64_t groups : {2, 6, 8, 15})
    for (int64_t each : {1, 2, 5, 19})
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

ConvProblem depthwise_3x3(int64_t h, int64_t w, int64_t channels, int64_t stride) {
  return {.n = 2,
          .h = h,
          .w = w,
          .cin = channels,
          .cout = channels,
          .kh = 3,
          .kw = 3,
          .stride_h = stride,
          .stride_w = stride,
          .pad_top = 1,
          .pad_left = 1,
          .pad_bottom = 1,
          .pad_right = 1,
          .groups = channels};
}

void check_depthwise(const ConvProblem& p) {
  for (bool unsigned_in : {false, true}) {
    const Data data(p, true, unsigned_in);
    Workspace packed(int8_depthwise_packed_bytes(p));
    int8_depthwise_pack(p, data.weights, packed.get());
    for (Int8Set set : sets()) {
      for (int threads : {1, 2}) {
        const Int8Context context{.set = set, .unsigned_in = unsigned_in, .threads = threads};
        Workspace ready(int8_depthwise_ready_bytes(p, context)), workspace(int8_depthwise_workspace_bytes(p, context));
        int8_depthwise_ready(p, context, packed.get(), ready.get());
        std::vector<int32_t> y(data.sums.size(), 7);
        ThreadPool pool(threads);
        int8_depthwise(p, context,
                       {.in = data.x.data(),
                        .packed = ready.get(),
                        .out = y.data(),
                        .epilogue = {},
                        .workspace = workspace.get(),
                        .pool = &pool});
        ASSERT_EQ(y, data.sums) << int8_set_name(set) << ", " << p.cin << " channels, unsigned " << unsigned_in;
      }
    }
  }
}

TEST(Int8, Depthwise) {
  for (int64_t channels : {1, 7, 16, 32, 37, 67, 130}) {
    check_depthwise({.n = 2,
                     .h = 8,
                     .w = 7,
                     .cin = channels,
                     .cout = channels,
                     .kh = 3,
                     .kw = 3,
                     .stride_h = 2,
                     .dilation_w = 2,
                     .pad_top = 1,
                     .pad_left = 2,
                     .pad_bottom = 1,
                     .pad_right = 2,
                     .groups = channels});
    for (int64_t kernel : {1, 2, 3, 5})
      for (int64_t stride : {1, 2})
        check_depthwise({.h = 6,
                         .w = 300,
                         .cin = channels,
                         .cout = channels,
                         .kh = kernel,
                         .kw = kernel,
                         .stride_h = stride,
                         .stride_w = stride,
                         .pad_top = kernel / 2,
                         .pad_left = kernel / 2,
                         .pad_bottom = kernel / 2,
                         .pad_right = kernel / 2,
                         .groups = channels});
  }
  for (int64_t size : {1, 2, 7}) {
    check_depthwise(depthwise_3x3(size, 8 - size, 35, 1));
    check_depthwise(depthwise_3x3(size, 8 - size, 35, 2));
  }
  // Windows wider than the image.
  check_depthwise({.h = 2,
                   .w = 2,
                   .cin = 33,
                   .cout = 33,
                   .kh = 5,
                   .kw = 5,
                   .pad_top = 3,
                   .pad_left = 3,
                   .pad_bottom = 3,
                   .pad_right = 3,
                   .groups = 33});
}

// What int8_conv or, of one channel a group, int8_depthwise makes of the data.
std::vector<int8_t> quantized(const ConvProblem& p, const Int8Context& context, const Data& data,
                              const Int8Epilogue& epilogue) {
  const bool depthwise = p.groups > 1;
  Workspace packed(depthwise ? int8_depthwise_packed_bytes(p) : int8_packed_bytes(p, context.set));
  Workspace ready(depthwise ? int8_depthwise_ready_bytes(p, context) : 1);
  Workspace workspace(depthwise ? int8_depthwise_workspace_bytes(p, context) : int8_workspace_bytes(p, context));
  ThreadPool pool(context.threads);
  std::vector<int8_t> y(data.sums.size());
  Int8Args args{
      .in = data.x.data(), .out = y.data(), .epilogue = epilogue, .workspace = workspace.get(), .pool = &pool};
  if (depthwise) {
    int8_depthwise_pack(p, data.weights, packed.get());
    int8_depthwise_ready(p, context, packed.get(), ready.get());
    args.packed = ready.get();
    int8_depthwise(p, context, args);
  } else {
    int8_pack(p, context, data.weights, packed.get());
    args.packed = packed.get();
    int8_conv(p, context, args);
  }
  return y;
}

// Scale, bias, residual, steps behind it and bounds alone, and the same with a clip that does nothing, which takes the
// way of all others.
void check_plain(const ConvProblem& p, float size, bool unsigned_in = false) {
  const Data data(p, false, unsigned_in);
  const auto channels = static_cast<size_t>(p.cout);
  std::vector<float> scale(channels), bias(channels), steps(channels);
  for (size_t c = 0; c < channels; ++c) {
    scale[c] = 3e-4f * static_cast<float>(c % 7 + 1) * size;
    bias[c] = static_cast<float>(c % 11) - 5.5f;
    steps[c] = 0.25f + static_cast<float>(c % 5);
  }
  const auto residual = bytes(static_cast<int64_t>(data.sums.size()), 3, true);
  for (const bool added : {false, true}) {
    for (const bool stepped : {false, true}) {
      if (stepped && !added) continue;
      Int8Epilogue e{.scale = scale.data(), .residual_scale = 0.3f, .quantized = true, .low = -7, .high = 101};
      e.real.bias = bias.data();
      if (added) e.residual = residual.data();
      if (stepped) e.step = steps.data();
      std::vector<int8_t> want(data.sums.size());
      for (size_t i = 0; i < want.size(); ++i) {
        const float sum = static_cast<float>(data.sums[i]) * scale[i % channels];
        float v = sum + bias[i % channels];
        if (added) v += static_cast<float>(residual[i]) * 0.3f;
        if (stepped) v *= steps[i % channels];
        want[i] = static_cast<int8_t>(std::clamp(std::nearbyint(v), -7.f, 101.f));
      }
      for (Int8Set set : sets()) {
        for (int threads : {1, 2}) {
          SCOPED_TRACE(std::string(int8_set_name(set)) + ", channels " + std::to_string(p.cout));
          const Int8Context context{.set = set, .unsigned_in = unsigned_in, .threads = threads};
          Int8Epilogue other = e;
          other.real.act = Activation::clip;
          other.real.a = -1e30f;
          other.real.b = 1e30f;
          ASSERT_EQ(quantized(p, context, data, e), want);
          ASSERT_EQ(quantized(p, context, data, other), want);
        }
      }
    }
  }
}

TEST(Int8, PlainEpilogues) {
  for (int64_t k : {7, 16, 33})
    for (int64_t n : {3, 16, 32, 50, 83, 128, 144}) check_plain({.w = 45, .cin = k, .cout = n}, 1);
  for (int64_t n : {16, 30, 44, 64}) check_plain({.w = 13, .cin = 1030, .cout = n}, 0.1f);
  // Beyond what i32 holds.
  check_plain({.w = 9, .cin = 12, .cout = 40}, 1e9f);
}

TEST(Int8, PlainDepthwise) {
  for (int64_t channels : {3, 32, 37, 64, 68, 96, 108, 160})
    for (int64_t size : {1, 2, 7, 14})
      for (int64_t stride : {1, 2})
        for (bool unsigned_in : {false, true})
          check_plain(depthwise_3x3(size, 15 - size, channels, stride), 10, unsigned_in);
  check_plain(depthwise_3x3(5, 6, 40, 1), 1e9f);
}

// The same sums, and what zero points add to them: [pixel][channel] + offset[channel] + row[pixel] * factor[channel].
TEST(Int8, Corrections) {
  const ConvProblem p{.w = 45, .cin = 33, .cout = 37};
  const Data data(p, true, true);
  std::vector<int32_t> offset(37), rows(45), factor(37);
  for (size_t c = 0; c < 37; ++c) {
    offset[c] = static_cast<int32_t>(c) * 1'000'003 - 12'345'678;
    factor[c] = static_cast<int32_t>(c * c) - 300;
  }
  for (size_t r = 0; r < 45; ++r) rows[r] = 70'000 - static_cast<int32_t>(r) * 9'001;
  std::vector<int32_t> want = data.sums;
  for (size_t i = 0; i < want.size(); ++i) want[i] += offset[i % 37] + rows[i / 37] * factor[i % 37];
  for (Int8Set set : sets()) {
    const Int8Context context{.set = set, .unsigned_in = true, .threads = 2};
    Workspace packed(int8_packed_bytes(p, set)), workspace(int8_workspace_bytes(p, context));
    int8_pack(p, context, data.weights, packed.get());
    std::vector<int32_t> y(want.size(), 7);
    ThreadPool pool(2);
    int8_conv(p, context,
              {.in = data.x.data(),
               .packed = packed.get(),
               .out = y.data(),
               .epilogue = {.offset = offset.data(), .row_sums = rows.data(), .factor = factor.data()},
               .workspace = workspace.get(),
               .pool = &pool});
    ASSERT_EQ(y, want) << int8_set_name(set);
  }
}

// The tiles of AMX as they would be on a CPU that has them.
TEST(Int8, EmulatedTiles) {
  for (const bool unsigned_in : {false, true}) {
    const Int8Kernel& kernel = unsigned_in ? HONE_TIER_NS::kUint8Tiles : HONE_TIER_NS::kInt8Tiles;
    const int64_t depth = 3 * kernel.form.k_step, panel = kernel.form.panel;
    const auto a = bytes(kernel.form.rows * depth, 1, true), b = bytes(panel * depth, 2, true);
    for (int rows : {1, 16, 17, 32}) {
      for (int columns : {1, 16, 17, 32}) {
        std::vector<int32_t> sums(static_cast<size_t>(kernel.form.rows * panel));
        kernel.form.begin();
        kernel.run({.a = {.first = reinterpret_cast<const std::byte*>(a.data()), .ld = depth},
                    .rows = rows,
                    .steps = depth / 4,
                    .b = b.data(),
                    .columns = columns,
                    .sums = sums.data()});
        kernel.form.end();
        for_each_index({rows, columns}, [&](const std::vector<int64_t>& at) {
          int32_t want = 0;
          for (int64_t k = 0; k < depth; ++k) {
            const int8_t x = a[static_cast<size_t>(at[0] * depth + k)];
            want += (unsigned_in ? int{static_cast<uint8_t>(x)} : int{x}) *
                    b[static_cast<size_t>((k / 4 * panel + at[1]) * 4 + k % 4)];
          }
          ASSERT_EQ(sums[static_cast<size_t>(at[0] * panel + at[1])], want)
              << rows << " rows, " << columns << " columns";
        });
      }
    }
  }
}

}  // namespace
}  // namespace hone::cpu
