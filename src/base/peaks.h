#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

// What copying or reading reaches while its working set is `bytes` large; bytes read and written both count.
struct Bandwidth {
  int64_t bytes = 0;
  double bytes_per_s = 0;
  bool operator==(const Bandwidth&) const = default;
};

// The most that a device reached when it was measured.
struct Peaks {
  std::map<std::string, double, std::less<>> rates;  // operations a second by precision; a multiply-add is two
  std::vector<Bandwidth> bandwidths;                 // by ascending size
  bool operator==(const Peaks&) const = default;

  bool known() const { return !rates.empty() && !bandwidths.empty(); }
  // 0 where it was not measured.
  double operations_per_s(std::string_view precision) const {
    const auto rate = rates.find(precision);
    return rate == rates.end() ? 0 : rate->second;
  }
  // For a working set of `bytes`: that of the largest measured one which is not larger, for smaller ones are faster.
  double bytes_per_s(double bytes) const {
    double rate = bandwidths.front().bytes_per_s;
    for (const Bandwidth& b : bandwidths)
      if (static_cast<double>(b.bytes) <= bytes) rate = b.bytes_per_s;
    return rate;
  }
};

}  // namespace hone
