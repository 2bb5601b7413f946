#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace hone::calibrate {

// How often each magnitude |x| occurred, in kBins equal bins from 0. The width of a bin is a power of two, the smallest
// for which the largest magnitude so far falls into a bin. When a larger one comes, pairs of bins are merged until it
// does: floor(floor(|x| / w) / 2) = floor(|x| / 2w), so that merging is exact and the counts depend on the values
// alone, never on the order or the batches that they came in. Takes 16 KB however many values it has seen.
class Histogram {
 public:
  static constexpr int kLogBins = 11, kBins = 1 << kLogBins;
  static constexpr int kLowestExponent = -126;  // of a width: smaller magnitudes share bin 0

  Histogram() = default;
  // As another counter that does the same has left it: `counts` of bins of 2^exponent, with zeros in bin 0.
  Histogram(int exponent, float largest, uint64_t zeros, std::vector<uint64_t> counts);

  // Counts the magnitudes of finite values, none larger than `largest`.
  void add(std::span<const float> values, float largest);
  void merge(const Histogram& other);

  double width() const;  // of a bin
  double centre(int bin) const { return (bin + 0.5) * width(); }
  uint64_t count(int bin) const { return counts_[static_cast<size_t>(bin)]; }
  uint64_t total() const { return total_; }
  uint64_t zeros() const { return zeros_; }    // values that are exactly 0, part of bin 0
  double largest() const { return largest_; }  // the largest magnitude, exactly
  int last() const;                            // the last bin that holds something; -1 when there is none

  bool operator==(const Histogram&) const = default;

 private:
  // Makes room for magnitudes up to `largest`.
  void grow(float largest);

  int exponent_ = kLowestExponent;  // the width of a bin is 2^exponent
  float largest_ = 0;
  uint64_t total_ = 0, zeros_ = 0;
  std::vector<uint64_t> counts_ = std::vector<uint64_t>(kBins);
};

}  // namespace hone::calibrate
