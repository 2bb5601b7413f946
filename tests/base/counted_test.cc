#include "base/counted.h"

#include <gtest/gtest.h>

namespace hone {
namespace {

TEST(Counted, IsSingularForOneAlone) {
  EXPECT_EQ(counted(0, "sample"), "0 samples");
  EXPECT_EQ(counted(size_t{1}, "sample"), "1 sample");
  EXPECT_EQ(counted(int64_t{-1}, "element"), "-1 elements");
  EXPECT_EQ(counted(1, "entry", "entries"), "1 entry");
  EXPECT_EQ(counted(12, "entry", "entries"), "12 entries");
}

}  // namespace
}  // namespace hone
