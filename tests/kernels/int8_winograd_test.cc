#include "int8_testing.h"

namespace hone::cpu {
namespace {

constexpr Algorithm kWinograd{int8_winograd_packed_bytes, int8_winograd_pack, int8_winograd_workspace_bytes,
                              int8_winograd, [](Int8Set set) { return set != Int8Set::scalar && set != Int8Set::amx; }};

constexpr ConvProblem three_by_three(int64_t n, int64_t h, int64_t w, int64_t cin, int64_t cout, int64_t pad) {
  return {.n = n,
          .h = h,
          .w = w,
          .cin = cin,
          .cout = cout,
          .kh = 3,
          .kw = 3,
          .pad_top = pad,
          .pad_left = pad,
          .pad_bottom = pad,
          .pad_right = pad};
}

TEST(Int8Winograd, IsExact) {
  for (int64_t size = 3; size <= 12; ++size) check(three_by_three(1, size, 15 - size, 16, 8, 1), kWinograd);
  for (int64_t channels = 8; channels <= 70; channels += 7)
    check(three_by_three(2, 6, 7, channels, 78 - channels, channels % 2), kWinograd);
  check({.h = 8, .w = 9, .cin = 11, .cout = 45, .kh = 3, .kw = 3, .pad_left = 2, .pad_bottom = 1}, kWinograd);
}

// Weights and inputs that give the largest sum that is allowed, of either sign, and one channel more.
TEST(Int8Winograd, KnowsItsLargestSums) {
  for (const auto& [unsigned_in, value, most] : {std::tuple{false, -128, 229}, {true, 255, 115}}) {
    const ConvProblem p = three_by_three(1, 6, 6, most, 8, 0);
    const std::vector<int8_t> x(static_cast<size_t>(36 * most), static_cast<int8_t>(value));
    std::vector<int8_t> w(static_cast<size_t>(8 * most * 9), 127);
    std::fill(w.begin(), w.begin() + 4 * most * 9, int8_t{-127});
    const Int8Weights weights{w.data(), most * 9, 9, 1};
    for (Int8Set set : sets_where(kWinograd.takes)) {
      const Int8Context context{.set = set, .unsigned_in = unsigned_in};
      EXPECT_EQ(int8_winograd_refusal(p, context, &weights), nullptr);
      ConvProblem larger = p;
      ++larger.cin;
      const std::vector<int8_t> more(static_cast<size_t>(8 * larger.cin * 9), 127);
      const Int8Weights more_weights{more.data(), larger.cin * 9, 9, 1};
      EXPECT_STREQ(int8_winograd_refusal(larger, context, &more_weights), "its sums may be too large to be exact");
      Workspace packed(int8_winograd_packed_bytes(p, set)), workspace(int8_winograd_workspace_bytes(p, context));
      int8_winograd_pack(p, context, weights, packed.get());
      std::vector<int32_t> y(16 * 8);
      ThreadPool pool(1);
      int8_winograd(p, context,
                    {.in = x.data(),
                     .packed = packed.get(),
                     .out = y.data(),
                     .epilogue = {},
                     .workspace = workspace.get(),
                     .pool = &pool});
      for (size_t i = 0; i < y.size(); ++i)
        ASSERT_EQ(y[i], value * 9 * most * (i % 8 < 4 ? -127 : 127)) << int8_set_name(set);
    }
  }
}

TEST(Int8Winograd, PlainEpilogues) {
  for (int64_t n : {8, 16, 50, 64, 83}) check_plain(kWinograd, three_by_three(1, 7, 9, 12, n, 1), 1, n % 2 == 0);
  check_plain(kWinograd, three_by_three(1, 7, 6, 12, 40, 1), 1e9f);
}

}  // namespace
}  // namespace hone::cpu
