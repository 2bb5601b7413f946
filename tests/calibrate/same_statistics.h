#pragma once

#include <gtest/gtest.h>

#include "calibrate/statistics.h"

namespace hone::calibrate {

// Of the same values, taken by a GPU's kernels and by the CPU: the same but for the last digits of sums.
inline void expect_same(const Statistics& got, const Statistics& want) {
  EXPECT_EQ(got.low, want.low);
  EXPECT_EQ(got.high, want.high);
  EXPECT_EQ(got.magnitudes, want.magnitudes);
  EXPECT_EQ(got.channels.low, want.channels.low);
  EXPECT_EQ(got.channels.high, want.channels.high);
  EXPECT_EQ(got.channels.count, want.channels.count);
  // The CPU adds up to 32 terms in fp32, which lose at most 32 times 2^-24 of their magnitudes; its squares leave fp32.
  const double values = static_cast<double>(want.magnitudes.total()), largest = want.largest(), loss = 0x1p-19 * values;
  EXPECT_NEAR(got.sum, want.sum, loss * largest);
  if (largest < 1e18 && largest > 1e-18) {
    EXPECT_NEAR(got.sum_of_squares, want.sum_of_squares, loss * largest * largest);
  }
  ASSERT_EQ(got.channels.sum.size(), want.channels.sum.size());
  for (size_t c = 0; c < want.channels.sum.size(); ++c)
    EXPECT_NEAR(got.channels.sum[c], want.channels.sum[c], loss * largest) << c;
}

}  // namespace hone::calibrate
