#include <nlohmann/json.hpp>
#include <optional>

#include "calibrate/cache.h"

namespace hone::calibrate {
namespace {

using Json = nlohmann::ordered_json;

struct Method {
  std::string_view calibrator, name;
};
constexpr Method kMethods[] = {
    {"minmax", "CalibrationMethod.MinMax"},
    {"entropy", "CalibrationMethod.Entropy"},
    {"percentile", "CalibrationMethod.Percentile"},
};

Json number(double value) {
  return {{"data", static_cast<double>(static_cast<float>(value))}, {"dtype", "float32"}, {"CLS", "numpy.array"}};
}

// A number, a list of one, or either as the data of {"CLS": "numpy.array"}.
std::optional<double> number_of(const Json& json) {
  if (json.is_number()) return json.get<double>();
  if (json.is_array() && json.size() == 1 && json[0].is_number()) return json[0].get<double>();
  if (json.is_object() && json.contains("data") && !json["data"].is_object()) return number_of(json["data"]);
  return std::nullopt;
}

// What ONNX Runtime has no place for, and passes over: {"NAME": [a magnitude for each channel]}, {"NAME": a magnitude}.
constexpr const char *kChannels = "channels", *kLargest = "largest";

Json channels_of(const RangeTable& table) {
  Json all = Json::object();
  for (const TensorRange& range : table.ranges)
    if (!range.channels.empty()) all[range.name] = range.channels;
  return all;
}

Json largest_of(const RangeTable& table) {
  Json all = Json::object();
  for (const TensorRange& range : table.ranges)
    if (range.largest > 0) all[range.name] = range.largest;
  return all;
}

Status read_largest(const Json& json, TensorRange& range) {
  if (!json.contains(range.name)) return {};
  const Json& largest = json[range.name];
  if (!largest.is_number() || !(largest.get<double>() >= 0))
    return invalid("tensor '{}' has a largest value that is no magnitude", range.name);
  range.largest = largest.get<double>();
  return {};
}

Status read_channels(const Json& json, TensorRange& range) {
  if (!json.contains(range.name)) return {};
  const Json& magnitudes = json[range.name];
  const auto is_magnitude = [](const Json& m) { return m.is_number() && m.get<double>() >= 0; };
  if (!magnitudes.is_array() || !std::ranges::all_of(magnitudes, is_magnitude))
    return invalid("tensor '{}' has channels that are no magnitudes", range.name);
  range.channels = magnitudes.get<std::vector<double>>();
  return {};
}

// {"lowest": x, "highest": y} or [x, y].
Result<TensorRange> range_of(const std::string& name, const Json& json) {
  std::optional<double> low, high;
  if (json.is_object() && json.contains("lowest") && json.contains("highest")) {
    low = number_of(json["lowest"]);
    high = number_of(json["highest"]);
  } else if (json.is_array() && json.size() == 2) {
    low = number_of(json[0]);
    high = number_of(json[1]);
  }
  if (!low || !high) return invalid("tensor '{}' has no numbers 'lowest' and 'highest'", name);
  TensorRange range{name, *low, *high};
  if (!range.usable()) return invalid("tensor '{}' has the range {} to {}", name, *low, *high);
  return range;
}

}  // namespace

bool onnxruntime_holds(std::string_view name) {
  return Json(name).dump(-1, ' ', false, Json::error_handler_t::ignore) ==
         Json(name).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string write_onnxruntime(const RangeTable& table) {
  Json data = Json::object();
  for (const TensorRange& range : table.ranges)
    data[range.name] = {{"lowest", number(range.low)}, {"highest", number(range.high)}, {"CLS", "TensorData"}};
  const auto method = std::ranges::find(kMethods, table.calibrator, &Method::calibrator);
  const std::string_view name = method == std::end(kMethods) ? kMethods[0].name : method->name;
  Json json{{"CLS", "TensorsData"},
            {"data", std::move(data)},
            {"calibration_method", {{"CLS", "CalibrationMethod"}, {"value", name}}},
            {"smooth_quant", false},
            {"calibrator", table.calibrator}};
  if (Json channels = channels_of(table); !channels.empty()) json[kChannels] = std::move(channels);
  if (Json largest = largest_of(table); !largest.empty()) json[kLargest] = std::move(largest);
  return json.dump(1) + '\n';
}

bool is_onnxruntime(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{';
}

Result<RangeTable> read_onnxruntime(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return invalid("broken JSON: the file is damaged or cut short");
  RangeTable table;
  const bool whole = json.contains("data") && json["data"].is_object();
  if (whole && json.contains("calibration_method")) {
    const Json& method = json["calibration_method"];
    const auto named = std::ranges::find_if(kMethods, [&](const Method& m) {
      return method.is_object() && method.contains("value") && method["value"] == m.name;
    });
    if (named != std::end(kMethods)) table.calibrator = named->calibrator;
  }
  if (whole && json.contains("calibrator") && json["calibrator"].is_string())
    table.calibrator = json["calibrator"].get<std::string>();
  for (const auto& [name, value] : (whole ? json["data"] : json).items()) {
    HONE_TRY(TensorRange range, range_of(name, value));
    if (whole && json.contains(kChannels)) HONE_CHECK(read_channels(json[kChannels], range));
    if (whole && json.contains(kLargest)) HONE_CHECK(read_largest(json[kLargest], range));
    table.ranges.push_back(std::move(range));
  }
  return table;
}

}  // namespace hone::calibrate
