#include "tools/inputs.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>

#include "base/npy.h"

namespace hone::tools {
namespace {

template <class T>
std::optional<T> parse(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

// A number, or true or false.
bool is_number(std::string_view text) { return text == "true" || text == "false" || parse<double>(text).has_value(); }

bool fits(DType dtype, int64_t value) {
  if (!is_signed(dtype) && value < 0) return false;
  const size_t bits = size_of(dtype) * 8 - (is_signed(dtype) ? 1 : 0);
  return bits >= 63 || (value >> bits) == (value < 0 ? -1 : 0);
}

// Integers go through no double, so that all 64 bits arrive.
Result<Tensor> filled(const TensorType& type, const std::string& text) {
  Tensor t(type.dtype, *type.shape.concrete());
  const bool truth = text == "true";
  const auto real = truth || text == "false" ? std::optional<double>(truth) : parse<double>(text);
  const auto whole = parse<int64_t>(text);
  if (type.dtype == DType::boolean || is_float(type.dtype)) {
    if (type.dtype == DType::boolean && *real != 0 && *real != 1) return invalid("{} is no boolean", text);
    for (int64_t i = 0; i < t.count(); ++i) t.set(i, *real);
    return t;
  }
  if (!is_integer(type.dtype)) return invalid("an input of {} takes an .npy file, not a number", name(type.dtype));
  if (!whole) return invalid("{} is no integer", text);
  if (!fits(type.dtype, *whole)) return invalid("{} does not fit in {}", text, name(type.dtype));
  for (int64_t i = 0; i < t.count(); ++i) t.set_int(i, *whole);
  return t;
}

}  // namespace

std::map<std::string, Dims> GivenInputs::shapes() const {
  std::map<std::string, Dims> shapes;
  for (const auto& [name, value] : files) shapes[name] = value.dims();
  return shapes;
}

Result<NamedTensors> GivenInputs::values(const std::vector<Binding>& inputs, uint64_t seed) const {
  HONE_CHECK(check_names(inputs));
  NamedTensors values = files;
  for (const Binding& b : inputs) {
    if (files.contains(b.name)) continue;
    if (!b.type.shape.known()) return invalid("input '{}' is {}: give --shape or --input", b.name, to_text(b.type));
    const auto number = numbers.find(b.name);
    if (number == numbers.end()) {
      values[b.name] = random_input(b.type, seed++);
      continue;
    }
    auto value = filled(b.type, number->second);
    if (!value.ok()) return value.status().within(fmt::format("--input {}={}", b.name, number->second));
    values[b.name] = std::move(*value);
  }
  return values;
}

Status GivenInputs::check_names(const std::vector<Binding>& inputs) const {
  std::string known;
  for (const Binding& b : inputs) known += fmt::format("{}'{}'", known.empty() ? "" : ", ", b.name);
  const auto check = [&](const std::string& name, const std::string& value) -> Status {
    if (std::ranges::find(inputs, name, &Binding::name) != inputs.end()) return {};
    return invalid("--input {}={}: there is no input '{}'; the inputs are {}", name, value, name,
                   known.empty() ? "none" : known);
  };
  for (const auto& [name, value] : files) HONE_CHECK(check(name, "..."));
  for (const auto& [name, text] : numbers) HONE_CHECK(check(name, text));
  return {};
}

void InputOptions::add_to(CLI::App& app) {
  app.add_option(
      "--input", given,
      "NAME=FILE.npy, or NAME=3 to fill an input with a number (repeatable); without any, inputs are random");
  app.add_option("--seed", seed, "Of random inputs");
}

Result<GivenInputs> InputOptions::read() const {
  GivenInputs read;
  for (const std::string& text : given) {
    const size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
      return invalid("--input {}: expected NAME=FILE.npy or NAME=NUMBER", text);
    const std::string name = text.substr(0, equals), value = text.substr(equals + 1);
    if (read.contains(name)) return invalid("--input {}: '{}' is given twice", text, name);
    if (is_number(value)) {
      read.numbers[name] = value;
    } else {
      HONE_TRY(read.files[name], read_npy(value));
    }
  }
  return read;
}

Tensor random_input(const TensorType& type, uint64_t seed) {
  Tensor t(type.dtype, *type.shape.concrete());
  if (type.dtype == DType::string) return t;
  std::mt19937_64 random(seed);
  for (int64_t i = 0; i < t.count(); ++i) {
    const uint64_t bits = random();
    if (is_float(type.dtype)) t.set(i, static_cast<double>(bits >> 11) * 0x1p-52 - 1.0);
    else t.set(i, static_cast<double>(bits % 2));
  }
  return t;
}

}  // namespace hone::tools
