#include "int8_testing.h"

#include "amx_emulation.h"
#include "kernels/cpu/int8/tiles_impl.inc"
#include "window_cases.h"

namespace hone::cpu {
namespace {

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
    for (Int8Set set : sets_where(has_int8_set)) {
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

// In the form of the others: weights are made ready as they are packed.
constexpr Algorithm kDepthwise{
    [](const ConvProblem& p, Int8Set set) {
      return std::max(int8_depthwise_ready_bytes(p, {.set = set}),
                      int8_depthwise_ready_bytes(p, {.set = set, .unsigned_in = true}));
    },
    [](const ConvProblem& p, const Int8Context& context, const Int8Weights& weights, void* ready) {
      Workspace packed(int8_depthwise_packed_bytes(p));
      int8_depthwise_pack(p, weights, packed.get());
      int8_depthwise_ready(p, context, packed.get(), ready);
    },
    int8_depthwise_workspace_bytes, int8_depthwise};

TEST(Int8, PlainEpilogues) {
  for (int64_t k : {7, 16, 33})
    for (int64_t n : {3, 16, 32, 50, 83, 128, 144}) check_plain(kDense, {.w = 45, .cin = k, .cout = n}, 1);
  for (int64_t n : {16, 30, 44, 64}) check_plain(kDense, {.w = 13, .cin = 1030, .cout = n}, 0.1f);
  // Beyond what i32 holds.
  check_plain(kDense, {.w = 9, .cin = 12, .cout = 40}, 1e9f);
}

TEST(Int8, PlainDepthwise) {
  for (int64_t channels : {3, 32, 37, 64, 68, 96, 108, 160})
    for (int64_t size : {1, 2, 7, 14})
      for (int64_t stride : {1, 2})
        for (bool unsigned_in : {false, true})
          check_plain(kDepthwise, depthwise_3x3(size, 15 - size, channels, stride), 10, unsigned_in);
  check_plain(kDepthwise, depthwise_3x3(5, 6, 40, 1), 1e9f);
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
  for (Int8Set set : sets_where(has_int8_set)) {
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
