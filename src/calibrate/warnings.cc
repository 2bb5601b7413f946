#include "calibrate/warnings.h"

namespace hone::calibrate {
namespace {

constexpr size_t kNamed = 3;  // tensors that a line names

// "'a', 'b', 'c', ..." of what `describe` says of each tensor; it says nothing of most.
template <class F>
std::pair<size_t, std::string> list(const Report& report, F describe) {
  size_t count = 0;
  std::string text;
  for (const TensorReport& t : report.tensors) {
    const std::string one = describe(t);
    if (one.empty()) continue;
    if (++count <= kNamed) text += (text.empty() ? "" : ", ") + one;
  }
  return {count, count > kNamed ? text + ", ..." : text};
}

std::string quoted(const TensorReport& t, bool wanted) { return wanted ? fmt::format("'{}'", t.name) : ""; }

std::string constant_channels(const TensorReport& t) {
  const ChannelStatistics& c = t.statistics.channels;
  size_t count = 0, first = 0;
  for (size_t k = 0; k < c.low.size(); ++k) {
    if (c.low[k] != c.high[k]) continue;
    if (count++ == 0) first = k;
  }
  // Channels of one value each say nothing.
  if (count == 0 || t.statistics.constant() || c.count < 2 * t.statistics.runs) return "";
  return fmt::format("'{}' ({} of {}, the first is {})", t.name, count, c.low.size(), first);
}

}  // namespace

std::vector<std::string> warnings_of(const Report& report, std::span<const Input> inputs,
                                     std::span<const NoiseTest> noise) {
  std::vector<std::string> lines;
  if (report.samples == 1)
    lines.push_back("there is only one sample: ranges of one rarely hold for others, some hundreds are usual");
  for (size_t i = 0; i < inputs.size(); ++i)
    if (noise[i].looks_random())
      lines.push_back(fmt::format(
          "input '{}' looks like random numbers (neighbouring values are unrelated): calibrate on real data",
          inputs[i].name));
  const auto add = [&](const auto& found, std::string_view what) {
    if (found.first > 0)
      lines.push_back(fmt::format("{} tensor{} {}: {}", found.first, found.first == 1 ? "" : "s", what, found.second));
  };
  add(list(report, [](const TensorReport& t) { return quoted(t, t.statistics.infinities > 0); }),
      "with infinite values: without a range, not to be quantised");
  add(list(report, [](const TensorReport& t) { return quoted(t, t.statistics.finite() && t.statistics.empty()); }),
      "without any element: without a range");
  add(list(report, [](const TensorReport& t) { return quoted(t, !t.statistics.empty() && t.statistics.constant()); }),
      "with one and the same value in all samples");
  add(list(report, constant_channels), "with channels that never change");
  return lines;
}

}  // namespace hone::calibrate
