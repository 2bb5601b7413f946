#include "calibrate/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <vector>

namespace hone::calibrate {
namespace {

// "0.5", "1/255".
std::optional<double> number(const std::string& text) {
  char* end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str()) return std::nullopt;
  if (*end == '/') {
    const char* divisor = end + 1;
    value /= std::strtod(divisor, &end);
    if (end == divisor) return std::nullopt;
  }
  return *end == '\0' && std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// One number for all colours, or three.
bool colours(const std::string& text, std::array<double, 3>& out) {
  const auto parts = split(text, ':');
  if (parts.size() != 1 && parts.size() != 3) return false;
  for (size_t i = 0; i < 3; ++i) {
    const auto value = number(parts[parts.size() == 1 ? 0 : i]);
    if (!value) return false;
    out[i] = *value;
  }
  return true;
}

// Each word, and whether its value can be used.
struct Word {
  std::string_view name, value, summary;
  bool (*apply)(const std::string& value, Preprocess& p);
};
constexpr Word kWords[] = {
    {"resize", "", "stretch to the model's size", [](const std::string&, Preprocess& p) { return p.resize = true; }},
    {"short", "N", "scale the shorter side to N, cut out the middle",
     [](const std::string& v, Preprocess& p) {
       const auto n = number(v);
       p.short_side = n && *n >= 1 && *n <= 1 << 16 ? static_cast<int>(*n) : 0;
       return p.short_side > 0;
     }},
    {"bgr", "", "blue first", [](const std::string&, Preprocess& p) { return p.bgr = true; }},
    {"scale", "S", "multiply by S, e.g. 1/255",
     [](const std::string& v, Preprocess& p) {
       const auto n = number(v);
       p.scale = n.value_or(0);
       return p.scale != 0;
     }},
    {"mean", "M", "then subtract M or M:M:M", [](const std::string& v, Preprocess& p) { return colours(v, p.mean); }},
    {"std", "D", "then divide by D or D:D:D",
     [](const std::string& v, Preprocess& p) {
       return colours(v, p.std) && p.std[0] != 0 && p.std[1] != 0 && p.std[2] != 0;
     }},
};

struct Preset {
  std::string_view name, words;
};
constexpr Preset kPresets[] = {
    {"imagenet", "short=256,scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225"},
    {"caffe", "short=256,bgr,mean=104:117:123"},
    {"signed", "scale=1/255,mean=0.5,std=0.5"},
};

Status apply(std::string_view text, Preprocess& result) {
  for (const std::string& part : split(text, ',')) {
    const size_t equals = std::min(part.find('='), part.size());
    const std::string name = part.substr(0, equals), value = part.substr(std::min(equals + 1, part.size()));
    const auto preset = std::ranges::find(kPresets, std::string_view(part), &Preset::name);
    if (preset != std::end(kPresets)) {
      HONE_CHECK(apply(preset->words, result));
      continue;
    }
    const auto word = std::ranges::find(kWords, std::string_view(name), &Word::name);
    if (word == std::end(kWords))
      return invalid("preprocessing '{}': there is no word '{}'; it is {}", text, name, preprocess_help());
    if (word->value.empty() != (equals == part.size()) || !word->apply(value, result))
      return invalid("preprocessing '{}': '{}' has no usable value", text, part);
  }
  return {};
}

}  // namespace

Result<Preprocess> preprocess_from_text(std::string_view text) {
  Preprocess result;
  HONE_CHECK(apply(text, result));
  if (result.resize && result.short_side > 0)
    return invalid("preprocessing '{}': give 'resize' or 'short', not both", text);
  return result;
}

std::string preprocess_help() {
  std::string text;
  for (const Word& w : kWords)
    text +=
        fmt::format("{}{}{}{} ({})", text.empty() ? "" : ", ", w.name, w.value.empty() ? "" : "=", w.value, w.summary);
  for (const Preset& p : kPresets) text += fmt::format(", {} ({})", p.name, p.words);
  return text;
}

}  // namespace hone::calibrate
