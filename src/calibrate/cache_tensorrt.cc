#include <bit>
#include <charconv>
#include <cstdint>

#include "calibrate/cache.h"

namespace hone::calibrate {
namespace {

constexpr std::string_view kVersion = "8601";  // the last release before calibrators were deprecated
constexpr double kLevels = 127;
constexpr size_t kHexDigits = 8;

// How the first line names the algorithms that are TensorRT's own.
struct Algorithm {
  std::string_view calibrator, name;
};
constexpr Algorithm kAlgorithms[] = {
    {"entropy", "EntropyCalibration2"},
    {"minmax", "MinMaxCalibration"},
    {"legacy", "LegacyCalibration"},
};

Result<TensorRange> parse_line(std::string_view line) {
  const size_t colon = line.rfind(": ");
  if (colon == std::string_view::npos || colon == 0) return invalid("expected 'NAME: HEX'");
  const std::string_view name = line.substr(0, colon), hex = line.substr(colon + 2);
  uint32_t bits = 0;
  const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), bits, 16);
  if (hex.size() != kHexDigits || error != std::errc() || end != hex.data() + hex.size())
    return invalid("tensor '{}': '{}' is not a scale in 8 hexadecimal digits", name, hex);
  const auto scale = static_cast<double>(std::bit_cast<float>(bits));
  TensorRange range{std::string(name), -scale * kLevels, scale * kLevels};
  if (!range.usable()) return invalid("tensor '{}': a scale of {}: expected a finite number above 0", name, scale);
  return range;
}

}  // namespace

bool tensorrt_holds(std::string_view name) { return name.find_first_of("\r\n") == std::string_view::npos; }

std::string write_tensorrt(const RangeTable& table) {
  const auto named = std::ranges::find(kAlgorithms, table.calibrator, &Algorithm::calibrator);
  std::string text =
      fmt::format("TRT-{}-{}\n", kVersion, named == std::end(kAlgorithms) ? kAlgorithms[0].name : named->name);
  for (const TensorRange& range : table.ranges)
    text += fmt::format("{}: {:08x}\n", range.name,
                        std::bit_cast<uint32_t>(static_cast<float>(range.threshold() / kLevels)));
  return text;
}

bool is_tensorrt(std::string_view text) { return text.starts_with("TRT-"); }

Result<RangeTable> read_tensorrt(std::string_view text) {
  RangeTable table;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (number == 1) {
      const auto named = std::ranges::find_if(kAlgorithms, [&](const Algorithm& a) { return line.ends_with(a.name); });
      if (named != std::end(kAlgorithms)) table.calibrator = named->calibrator;
      continue;
    }
    if (line.empty()) continue;
    auto range = parse_line(line);
    if (!range.ok()) return range.status().within(fmt::format("line {}", number));
    table.ranges.push_back(std::move(*range));
  }
  return table;
}

}  // namespace hone::calibrate
