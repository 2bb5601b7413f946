// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gather/gather.h"

#include "kernel_testing.h"

namespace hone::cpu {
namespace {

template <class Index>
void check(int64_t outer, int64_t extent, int64_t inner, int64_t count) {
  const GatherProblem p{outer, extent, inner * 4, count, sizeof(Index) == 8};
  const auto x = random_floats(outer * extent * inner);
  std::vector<Index> indices(static_cast<size_t>(count));
  for (size_t i = 0; i < indices.size(); ++i)
    indices[i] = static_cast<Index>(static_cast<int64_t>(i * 7919) % (2 * extent) - extent);
  for (int threads : {1, 2}) {
    ThreadPool pool(threads);
    std::vector<float> y(static_cast<size_t>(outer * count * inner));
    ASSERT_EQ(gather(p, x.data(), indices.data(), y.data(), pool), nullptr);
    size_t i = 0, wrong = 0;
    for_each_index({outer, count, inner}, [&](const std::vector<int64_t>& at) {
      int64_t k = static_cast<int64_t>(indices[static_cast<size_t>(at[1])]);
      if (k < 0) k += extent;
      wrong += y[i++] != x[static_cast<size_t>((at[0] * extent + k) * inner + at[2])];
    });
    EXPECT_EQ(wrong, 0u);
  }
}

TEST(Gather, AnyAxis) {
  for (int64_t inner : {1, 2, 3, 768}) {
    check<int64_t>(1, 1000, inner, 200);
    check<int32_t>(5, 9, inner, 33);
    check<int64_t>(5, 9, inner, 0);
  }
}

TEST(Gather, RefusesIndicesOutOfRange) {
  ThreadPool pool(1);
  const float x[3] = {1, 2, 3};
  float y[2];
  for (int64_t bad : {3, -4}) {
    const int64_t indices[2] = {0, bad};
    EXPECT_NE(gather({1, 3, 4, 2, true}, x, indices, y, pool), nullptr);
  }
}

}  // namespace
}  // namespace hone::cpu
