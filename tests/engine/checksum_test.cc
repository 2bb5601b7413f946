#include "engine/checksum.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <xxhash.h>

#include <algorithm>
#include <string>

#include "base/cpu_info.h"
#include "engine/checksum_piece.h"

namespace hone {
namespace {

constexpr size_t kPiece = size_t{1} << 20, kSize = 40 * kPiece + 3;  // enough that threads share it

std::string pattern() {
  std::string bytes(kSize, '\0');
  for (size_t i = 0; i < kSize; ++i) bytes[i] = static_cast<char>(i * 2654435761 >> 24);
  return bytes;
}

TEST(Checksum, EveryPieceAndItsPlaceCount) {
  std::string bytes = pattern();
  const uint64_t want = checksum(bytes);
  for (size_t at : {size_t{0}, kPiece - 1, kPiece, 20 * kPiece + 17, kSize - 1}) {
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
    EXPECT_NE(checksum(bytes), want) << at;
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
  }
  EXPECT_NE(checksum(std::string_view(bytes).substr(0, kSize - 1)), want);
  std::swap_ranges(bytes.begin(), bytes.begin() + kPiece, bytes.begin() + kPiece);
  EXPECT_NE(checksum(bytes), want);
}

TEST(Checksum, OneCpuFindsTheSameAsMany) {
  const std::string bytes = pattern();
  const uint64_t want = checksum(bytes);
  cpu_set_t all, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(checksum(bytes), want);
  sched_setaffinity(0, sizeof all, &all);
}

// Files of one machine are read by others.
TEST(Checksum, WithAvx2IsThatOfTheLibrary) {
  if (cpu::best_tier() < cpu::Tier::avx2) GTEST_SKIP() << "no AVX2 here";
  const std::string bytes = pattern();
  for (const size_t size : {0, 1, 3, 8, 16, 17, 128, 129, 240, 241, 1024, 1025, 99999})
    for (const size_t from : {size_t{0}, size_t{1}, kPiece - 1})
      EXPECT_EQ(hash_piece_avx2(bytes.data() + from, size), XXH3_64bits(bytes.data() + from, size)) << size;
  EXPECT_EQ(hash_piece_avx2(bytes.data(), kPiece), XXH3_64bits(bytes.data(), kPiece));
}

TEST(Checksum, OfNothingDiffersFromThatOfAZero) { EXPECT_NE(checksum({}), checksum(std::string_view("", 1))); }

}  // namespace
}  // namespace hone
