// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/transpose/transpose.h"

#include <algorithm>
#include <numeric>

#include "kernel_testing.h"

namespace hone::cpu {
namespace {

template <class T>
void check(const std::vector<int64_t>& dims, const std::vector<int64_t>& perm) {
  std::vector<T> x(static_cast<size_t>(product(dims)));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i * 2654435761u);
  std::vector<int64_t> out;
  for (int64_t p : perm) out.push_back(dims[static_cast<size_t>(p)]);
  const auto strides = dense(dims);
  for (Tier tier : tiers()) {
    for (int threads : {1, 2}) {
      const auto plan = TransposePlan::make(dims, perm, sizeof(T), tier);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      std::vector<T> y(x.size() + 1, T{77});
      ThreadPool pool(threads);
      plan->run(x.data(), y.data(), pool);
      EXPECT_EQ(y.back(), T{77});
      size_t i = 0, wrong = 0;
      for_each_index(out, [&](const std::vector<int64_t>& at) {
        int64_t from = 0;
        for (size_t d = 0; d < at.size(); ++d) from += at[d] * strides[static_cast<size_t>(perm[d])];
        wrong += y[i++] != x[static_cast<size_t>(from)];
      });
      EXPECT_EQ(wrong, 0u) << testing::PrintToString(dims) << " by " << testing::PrintToString(perm);
    }
  }
}

template <class T>
void check_all() {
  for (const std::vector<int64_t>& dims :
       std::vector<std::vector<int64_t>>{{7}, {5, 9}, {2, 3, 4}, {3, 17, 2, 9}, {2, 1, 8, 3, 5}}) {
    std::vector<int64_t> perm(dims.size());
    std::iota(perm.begin(), perm.end(), 0);
    do check<T>(dims, perm);
    while (std::next_permutation(perm.begin(), perm.end()));
  }
}

TEST(Transpose, AllPermutationsAndWidths) {
  check_all<uint8_t>();
  check_all<uint16_t>();
  check_all<uint32_t>();
  check_all<uint64_t>();
}

TEST(Transpose, ImagesAndHeads) {
  for (int64_t c : {1, 2, 3, 4, 8, 37, 64, 130}) {
    check<uint32_t>({2, c, 31, 33}, {0, 2, 3, 1});
    check<uint32_t>({2, 31, 33, c}, {0, 3, 1, 2});
    check<uint8_t>({2, c, 31, 33}, {0, 2, 3, 1});
  }
  check<uint32_t>({2, 100, 12, 64}, {0, 2, 1, 3});
  check<uint32_t>({2, 100, 12, 64}, {0, 2, 3, 1});
  check<uint32_t>({500, 700}, {1, 0});
  check<uint32_t>({0, 4}, {1, 0});
}

TEST(Transpose, RefusesBadAxes) {
  const std::vector<int64_t> dims = {2, 3}, perm = {0, 0}, good = {1, 0};
  EXPECT_FALSE(TransposePlan::make(dims, perm, 4).ok());
  EXPECT_FALSE(TransposePlan::make(dims, good, 3).ok());
}

}  // namespace
}  // namespace hone::cpu
