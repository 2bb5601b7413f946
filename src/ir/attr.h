#pragma once

#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/pointwise.h"
#include "base/tensor.h"

namespace hone {

class Graph;

// An attribute as it is printed, parsed, hashed and saved.
using Attr = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                          std::vector<std::string>, std::shared_ptr<const Graph>>;
using Attrs = std::map<std::string, Attr>;

// An op is a plain struct with `static void fields(auto& self, auto&& field)` that calls field("name", self.member) for
// each attribute. A member is a bool, integer, double, string, a vector of one, a DType, a PointwiseProgram or a
// subgraph.
template <class T>
Attr to_attr(const T& value) {
  if constexpr (std::is_same_v<T, DType>) return std::string(name(value));
  else if constexpr (std::is_same_v<T, PointwiseProgram>) return to_text(value);
  else if constexpr (std::is_same_v<T, bool>) return value;
  else if constexpr (std::is_integral_v<T>) return static_cast<int64_t>(value);
  else if constexpr (std::is_floating_point_v<T>) return static_cast<double>(value);
  else return value;
}

template <class T>
bool from_attr(const Attr& attr, T& value) {
  if constexpr (std::is_same_v<T, DType>) {
    const auto* text = std::get_if<std::string>(&attr);
    const auto type = text ? dtype_from_name(*text) : std::nullopt;
    if (type) value = *type;
    return type.has_value();
  } else if constexpr (std::is_same_v<T, PointwiseProgram>) {
    const auto* text = std::get_if<std::string>(&attr);
    if (text == nullptr) return false;
    auto program = pointwise_from_text(*text);
    if (program.ok()) value = *program;
    return program.ok();
  } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    const auto* v = std::get_if<int64_t>(&attr);
    if (v) value = static_cast<T>(*v);
    return v != nullptr;
  } else if constexpr (std::is_floating_point_v<T>) {
    const auto* v = std::get_if<double>(&attr);
    const auto* whole = std::get_if<int64_t>(&attr);
    if (v) value = static_cast<T>(*v);
    if (whole) value = static_cast<T>(*whole);
    return v != nullptr || whole != nullptr;
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    // "[1, 2]" parses as integers.
    if (const auto* whole = std::get_if<std::vector<int64_t>>(&attr)) {
      value.assign(whole->begin(), whole->end());
      return true;
    }
    if (const auto* v = std::get_if<T>(&attr)) value = *v;
    return std::holds_alternative<T>(attr);
  } else {
    // "[]" parses as integers whatever the element.
    if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      const auto* none = std::get_if<std::vector<int64_t>>(&attr);
      if (none != nullptr && none->empty()) return value.clear(), true;
    }
    const auto* v = std::get_if<T>(&attr);
    if (v) value = *v;
    return v != nullptr;
  }
}

template <class T>
Attrs attrs_of(const T& op) {
  Attrs attrs;
  T::fields(op, [&](const char* key, const auto& member) { attrs.emplace(key, to_attr(member)); });
  return attrs;
}

// Every attribute must be known to T and of its type; missing ones keep their default.
template <class T>
Result<T> from_attrs(const Attrs& attrs) {
  T op;
  size_t used = 0;
  std::string bad;
  T::fields(op, [&](const char* key, auto& member) {
    const auto found = attrs.find(key);
    if (found == attrs.end()) return;
    ++used;
    if (!from_attr(found->second, member)) bad = key;
  });
  if (!bad.empty()) return invalid("{}: attribute '{}' has the wrong type", T::kName, bad);
  if (used != attrs.size()) return invalid("{}: unknown attribute", T::kName);
  return op;
}

}  // namespace hone
