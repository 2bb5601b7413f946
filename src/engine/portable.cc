#include "engine/portable.h"

#include <cmath>

#include "engine/strict_json.h"

namespace hone {
namespace {

using Json = StrictJson;

constexpr int kMaxThreads = 1024;

double magnitude(const Json& json) {
  const auto value = json.get<double>();
  if (!std::isfinite(value) || value < 0) throw std::runtime_error(json.dump() + " is no magnitude");
  return value;
}

int64_t whole(const Json& json, int64_t most) {
  const auto value = json.get<int64_t>();
  if (value < 0 || value > most) throw std::runtime_error(json.dump() + " is out of range");
  return value;
}

Json ranges_json(const Thresholds& ranges) {
  Json json = Json::object();
  for (const auto& [name, m] : ranges)
    json[name] = {{"whole", m.whole}, {"channels", m.channels}, {"largest", m.largest}};
  return json;
}

Thresholds ranges_from(const Json& json) {
  Thresholds ranges;
  for (const auto& [name, row] : json.items()) {
    Magnitude& m = ranges[name];
    m.whole = magnitude(row.at("whole"));
    m.largest = magnitude(row.at("largest"));
    for (const Json& channel : row.at("channels")) m.channels.push_back(magnitude(channel));
  }
  return ranges;
}

}  // namespace

Result<std::string> to_json(const Recipe& recipe) {
  try {
    return Json{{"target", recipe.target},
                {"threads", recipe.threads},
                {"max_tier", recipe.max_tier},
                {"winograd", recipe.winograd},
                {"tf32", recipe.tf32},
                {"bf16", recipe.bf16},
                {"half", name(recipe.half)},
                {"deterministic", recipe.deterministic},
                {"int8", recipe.int8},
                {"ranges", ranges_json(recipe.ranges)},
                {"fp8", recipe.fp8},
                {"strict", recipe.strict},
                {"floats", recipe.floats},
                {"accuracy", recipe.accuracy},
                {"max_workspace", recipe.max_workspace}}
        .dump(1);
  } catch (const Json::exception& e) {
    return invalid("names of tensors that are not UTF-8 cannot go into the portable graph: build without it ({})",
                   e.what());
  }
}

Result<Recipe> recipe_from_json(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    Recipe recipe;
    recipe.target = json.at("target");
    recipe.threads = static_cast<int>(whole(json.at("threads"), kMaxThreads));
    recipe.max_tier = static_cast<int>(whole(json.at("max_tier"), 2));
    recipe.winograd = json.at("winograd");
    recipe.tf32 = json.at("tf32");
    recipe.bf16 = json.at("bf16");
    recipe.deterministic = json.at("deterministic");
    const auto half = json.at("half").get<std::string>();
    if (half == name(DType::f16)) recipe.half = DType::f16;
    else if (half == name(DType::bf16)) recipe.half = DType::bf16;
    else if (half != name(DType::none)) return invalid("the build options are malformed: '{}' is no half type", half);
    recipe.int8 = json.at("int8");
    recipe.fp8 = json.at("fp8");
    recipe.ranges = ranges_from(json.at("ranges"));
    recipe.strict = json.at("strict");
    recipe.floats = json.at("floats").get<std::set<std::string>>();
    recipe.accuracy = json.at("accuracy");
    recipe.max_workspace = whole(json.at("max_workspace"), INT64_MAX);
    return recipe;
  } catch (const std::exception& e) {
    return invalid("the build options are malformed: {}", e.what());
  }
}

}  // namespace hone
