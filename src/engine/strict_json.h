#pragma once

#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

namespace hone {

// Of files from outside: throws where nlohmann would cast a number into an integer that cannot hold it, which is
// undefined for a fraction and wraps an integer.
template <class T, class Enable = void>
struct StrictSerializer : nlohmann::adl_serializer<T, Enable> {};

using StrictJson = nlohmann::basic_json<std::map, std::vector, std::string, bool, int64_t, uint64_t, double,
                                        std::allocator, StrictSerializer>;

template <class T>
struct StrictSerializer<T, std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>>>
    : nlohmann::adl_serializer<T> {
  static void from_json(const StrictJson& json, T& value) {
    const auto* number = json.is_number_integer() ? json.get_ptr<const int64_t*>() : nullptr;
    const bool beyond = json.is_number_unsigned() && *json.get_ptr<const uint64_t*>() > uint64_t{INT64_MAX};
    if (number == nullptr || beyond || !std::in_range<T>(*number))
      throw std::runtime_error(json.dump() + " is no integer of that size");
    value = static_cast<T>(*number);
  }
};

}  // namespace hone
