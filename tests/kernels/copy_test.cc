// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/copy/copy.h"

#include <numeric>

#include "kernel_testing.h"

namespace hone::cpu {
namespace {

template <class T>
std::vector<T> counted(int64_t n) {
  std::vector<T> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<T>(i + 1);
  return v;
}

// y of `dims` must hold x[index(at)] everywhere.
template <class T, class Run, class Index>
void expect(const std::vector<T>& x, const std::vector<int64_t>& dims, Run run, Index index) {
  for (int threads : {1, 2}) {
    ThreadPool pool(threads);
    std::vector<T> y(static_cast<size_t>(product(dims)) + 1, T{77});
    run(x.data(), y.data(), pool);
    EXPECT_EQ(y.back(), T{77});
    size_t i = 0, wrong = 0;
    for_each_index(dims, [&](const std::vector<int64_t>& at) {
      const int64_t from = index(at);
      wrong += y[i++] != (from < 0 ? T{9} : x[static_cast<size_t>(from)]);
    });
    EXPECT_EQ(wrong, 0u) << testing::PrintToString(dims);
  }
}

template <class T>
void check_copies() {
  const auto x = counted<T>(6 * 7 * 50);
  const std::vector<int64_t> x_dims = {6, 7, 50}, starts = {1, 6, 3}, steps = {2, -3, 5}, dims = {3, 3, 9};
  const auto slice = CopyPlan::slice(x_dims, starts, steps, dims, sizeof(T));
  ASSERT_TRUE(slice.ok());
  expect(
      x, dims, [&](auto* a, auto* b, ThreadPool& pool) { slice->run(a, b, pool); },
      [&](const auto& at) { return ((1 + 2 * at[0]) * 7 + 6 - 3 * at[1]) * 50 + 3 + 5 * at[2]; });
  const std::vector<int64_t> narrow = {7, 1}, wide = {6, 7, 300};
  const auto expand = CopyPlan::expand(narrow, wide, sizeof(T));
  ASSERT_TRUE(expand.ok());
  expect(
      x, wide, [&](auto* a, auto* b, ThreadPool& pool) { expand->run(a, b, pool); },
      [](const auto& at) { return at[1]; });
  const std::vector<int64_t> repeats = {2, 1, 3}, tiled = {12, 7, 150};
  const auto tile = CopyPlan::tile(x_dims, repeats, sizeof(T));
  ASSERT_TRUE(tile.ok());
  expect(
      x, tiled, [&](auto* a, auto* b, ThreadPool& pool) { tile->run(a, b, pool); },
      [](const auto& at) { return (at[0] % 6 * 7 + at[1]) * 50 + at[2] % 50; });
}

TEST(Copy, SliceExpandTile) {
  check_copies<uint8_t>();
  check_copies<uint16_t>();
  check_copies<uint32_t>();
  check_copies<uint64_t>();
}

TEST(Copy, ConcatenatesAndLongRuns) {
  const auto x = counted<float>(300000);
  const std::vector<int64_t> dims = {300000}, one = {1};
  const auto plan = CopyPlan::make(dims, one, one, 4);
  ASSERT_TRUE(plan.ok());
  expect(
      x, dims, [&](auto* a, auto* b, ThreadPool& pool) { plan->run(a, b, pool); },
      [](const auto& at) { return at[0]; });
  // Five of seven columns, the rows in groups of 100 with a gap.
  const std::vector<int64_t> part = {400, 100, 5}, own = {701, 7, 1}, dense = {500, 5, 1};
  const auto columns = CopyPlan::make(part, own, dense, 4, 2);
  ASSERT_TRUE(columns.ok());
  expect(
      x, part, [&](auto* a, auto* b, ThreadPool& pool) { columns->run(a, b, pool); },
      [](const auto& at) { return at[0] * 701 + at[1] * 7 + at[2] + 2; });
}

int64_t mapped(int64_t i, int64_t n, PadMode mode) {
  if (mode == PadMode::constant) return i < 0 || i >= n ? -1 : i;
  if (mode == PadMode::edge) return std::min(std::max<int64_t>(i, 0), n - 1);
  if (mode == PadMode::wrap) return (i + 100 * n) % n;
  while (i < 0 || i >= n) i = i < 0 ? -i : 2 * (n - 1) - i;
  return i;
}

void check_pads(const std::vector<int64_t>& x_dims, const std::vector<int64_t>& begin,
                const std::vector<int64_t>& end) {
  const size_t rank = x_dims.size();
  std::vector<int64_t> dims;
  for (size_t d = 0; d < rank; ++d) dims.push_back(begin[d] + x_dims[d] + end[d]);
  const auto x = counted<float>(product(x_dims));
  const float value = 9;
  for (PadMode mode : {PadMode::constant, PadMode::reflect, PadMode::edge, PadMode::wrap}) {
    const auto plan = PadPlan::make(x_dims, begin, end, mode, 4);
    ASSERT_TRUE(plan.ok());
    expect(
        x, dims, [&](auto* a, auto* b, ThreadPool& pool) { plan->run(a, b, &value, pool); },
        [&](const auto& at) {
          int64_t index = 0;
          for (size_t d = 0; d < rank; ++d) {
            const int64_t i = mapped(at[d] - begin[d], x_dims[d], mode);
            if (i < 0) return int64_t{-1};
            index = index * x_dims[d] + i;
          }
          return index;
        });
  }
}

TEST(Copy, PadsInAllModes) {
  check_pads({3, 4, 20}, {1, -1, 7}, {2, 3, 2});
  check_pads({3, 40, 2}, {0, 7, 0}, {0, 2, 0});     // inner dims that stay as they are
  check_pads({1, 70000, 1}, {0, 5, 0}, {0, 9, 0});  // one row for all threads
  check_pads({2, 3}, {0, 0}, {0, 0});
}

TEST(Copy, RefusesWhatLeavesTheInput) {
  const std::vector<int64_t> dims = {4}, start = {2}, step = {1}, out = {3};
  EXPECT_FALSE(CopyPlan::slice(dims, start, step, out, 4).ok());
  EXPECT_FALSE(CopyPlan::expand(dims, out, 4).ok());
}

TEST(Copy, StepsOfAnySizeAreNotOverflowed) {
  const auto slice = [](int64_t start, int64_t step, int64_t count) {
    return CopyPlan::slice(std::vector<int64_t>{5, 3}, std::vector<int64_t>{start, 0}, std::vector<int64_t>{step, 1},
                           std::vector<int64_t>{count, 3}, 4)
        .ok();
  };
  EXPECT_TRUE(slice(4, INT64_MAX, 1));
  EXPECT_TRUE(slice(4, INT64_MIN, 1));
  EXPECT_TRUE(slice(4, -2, 3));
  EXPECT_FALSE(slice(4, INT64_MAX, 2));
  EXPECT_FALSE(slice(4, INT64_MIN, 2));
  EXPECT_FALSE(slice(4, -2, 4));
  EXPECT_FALSE(slice(0, 1, INT64_MAX));
}

}  // namespace
}  // namespace hone::cpu
