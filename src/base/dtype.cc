#include "base/dtype.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace hone {
namespace {

enum class Kind : uint8_t { other, floating, signed_int, unsigned_int, complex };

struct Row {
  DType type;
  std::string_view name;
  uint8_t bytes;
  Kind kind;
};

constexpr std::array kRows = {
    Row{DType::none, "none", 0, Kind::other},
    Row{DType::f32, "f32", 4, Kind::floating},
    Row{DType::f64, "f64", 8, Kind::floating},
    Row{DType::f16, "f16", 2, Kind::floating},
    Row{DType::bf16, "bf16", 2, Kind::floating},
    Row{DType::i8, "i8", 1, Kind::signed_int},
    Row{DType::i16, "i16", 2, Kind::signed_int},
    Row{DType::i32, "i32", 4, Kind::signed_int},
    Row{DType::i64, "i64", 8, Kind::signed_int},
    Row{DType::u8, "u8", 1, Kind::unsigned_int},
    Row{DType::u16, "u16", 2, Kind::unsigned_int},
    Row{DType::u32, "u32", 4, Kind::unsigned_int},
    Row{DType::u64, "u64", 8, Kind::unsigned_int},
    Row{DType::boolean, "bool", 1, Kind::other},
    Row{DType::string, "string", 0, Kind::other},
    Row{DType::f8e4m3fn, "f8e4m3fn", 1, Kind::floating},
    Row{DType::f8e4m3fnuz, "f8e4m3fnuz", 1, Kind::floating},
    Row{DType::f8e5m2, "f8e5m2", 1, Kind::floating},
    Row{DType::f8e5m2fnuz, "f8e5m2fnuz", 1, Kind::floating},
    Row{DType::f8e8m0, "f8e8m0", 1, Kind::floating},
    Row{DType::i4, "i4", 1, Kind::signed_int},
    Row{DType::u4, "u4", 1, Kind::unsigned_int},
    Row{DType::i2, "i2", 1, Kind::signed_int},
    Row{DType::u2, "u2", 1, Kind::unsigned_int},
    Row{DType::f4e2m1, "f4e2m1", 1, Kind::floating},
    Row{DType::c64, "c64", 8, Kind::complex},
    Row{DType::c128, "c128", 16, Kind::complex},
    Row{DType::sequence, "sequence", 0, Kind::other},
};

const Row& row(DType type) { return kRows[static_cast<size_t>(type)]; }

// A small float format: sign, exponent and mantissa bits, and how it spells NaN and infinity.
struct Format {
  int exponent_bits, mantissa_bits, bias;
  bool has_infinity;   // IEEE: the top exponent is infinity and NaN
  bool unsigned_zero;  // fnuz: the only NaN is 0x80, no negative zero
  double largest;
};

Format format_of(DType type) {
  switch (type) {
    case DType::f8e4m3fn: return {4, 3, 7, false, false, 448};
    case DType::f8e4m3fnuz: return {4, 3, 8, false, true, 240};
    case DType::f8e5m2: return {5, 2, 15, true, false, 57344};
    case DType::f8e5m2fnuz: return {5, 2, 16, false, true, 57344};
    default: return {2, 1, 1, false, false, 6};
  }
}

bool is_nan_bits(DType type, const Format& format, uint8_t bits) {
  if (type == DType::f4e2m1) return false;
  if (format.unsigned_zero) return bits == 0x80;
  if (format.has_infinity) return (bits & 0x7f) > 0x7c;
  return (bits & 0x7f) == 0x7f;
}

double decode_float(DType type, uint8_t bits) {
  const Format format = format_of(type);
  if (is_nan_bits(type, format, bits)) return std::numeric_limits<double>::quiet_NaN();
  const int width = format.exponent_bits + format.mantissa_bits;
  const double sign = (bits >> width) & 1 ? -1 : 1;
  const int exponent = (bits >> format.mantissa_bits) & ((1 << format.exponent_bits) - 1);
  const int mantissa = bits & ((1 << format.mantissa_bits) - 1);
  if (format.has_infinity && exponent == (1 << format.exponent_bits) - 1)
    return sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - format.bias - format.mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << format.mantissa_bits), exponent - format.bias - format.mantissa_bits);
}

uint8_t encode_float(DType type, double value, bool saturate) {
  const Format format = format_of(type);
  const int width = format.exponent_bits + format.mantissa_bits;
  const uint8_t sign = std::signbit(value) ? 1 << width : 0;
  const uint8_t nan = type == DType::f4e2m1 ? 8 : format.unsigned_zero ? 0x80 : 0x7f | sign;
  if (std::isnan(value)) return nan;
  const double magnitude = std::fabs(value);
  const auto largest_bits = [&]() -> uint8_t {
    if (type == DType::f4e2m1) return sign | 7;
    if (format.has_infinity) return sign | 0x7b;
    return format.unsigned_zero ? sign | 0x7f : sign | 0x7e;
  };
  const auto overflow = [&]() -> uint8_t {
    if (saturate || type == DType::f4e2m1) return largest_bits();
    return format.has_infinity ? sign | 0x7c : nan;
  };
  if (std::isinf(value)) return overflow();
  int exponent;
  std::frexp(magnitude, &exponent);
  exponent = std::max(exponent - 1, 1 - format.bias);
  const double unit = std::ldexp(1.0, exponent - format.mantissa_bits);
  const double steps = std::nearbyint(magnitude / unit);
  const double rounded = steps * unit;
  if (rounded > format.largest) return overflow();
  if (rounded == 0) return format.unsigned_zero ? 0 : sign;
  std::frexp(rounded, &exponent);
  --exponent;
  if (exponent < 1 - format.bias)
    return sign | static_cast<uint8_t>(std::ldexp(rounded, format.bias - 1 + format.mantissa_bits));
  const int mantissa =
      static_cast<int>(std::ldexp(rounded, format.mantissa_bits - exponent)) - (1 << format.mantissa_bits);
  return sign | static_cast<uint8_t>(((exponent + format.bias) << format.mantissa_bits) | mantissa);
}

}  // namespace

std::string_view name(DType type) { return row(type).name; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const Row& r : kRows)
    if (r.name == name) return r.type;
  return std::nullopt;
}

size_t size_of(DType type) { return row(type).bytes; }
bool is_float(DType type) { return row(type).kind == Kind::floating; }
bool is_integer(DType type) { return row(type).kind == Kind::signed_int || row(type).kind == Kind::unsigned_int; }
bool is_signed(DType type) { return row(type).kind == Kind::signed_int || row(type).kind == Kind::floating; }
bool is_complex(DType type) { return row(type).kind == Kind::complex; }

float to_float(bf16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }

float to_float(f16 value) {
  const int exponent = (value.bits >> 10) & 31, mantissa = value.bits & 1023;
  const float sign = value.bits & 0x8000 ? -1.0f : 1.0f;
  if (exponent == 31)
    return mantissa ? std::numeric_limits<float>::quiet_NaN() : sign * std::numeric_limits<float>::infinity();
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

f16 to_f16(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return {static_cast<uint16_t>(sign | 0x7e00)};
  const double magnitude = std::fabs(value);
  if (magnitude >= 65520) return {static_cast<uint16_t>(sign | 0x7c00)};
  // Of 64 bits the exponent is the upper 11: models have many weights, so that no function is called.
  const int exponent = std::max(static_cast<int>(std::bit_cast<uint64_t>(magnitude) >> 52) - 1023, -14);
  const double scale = std::bit_cast<double>(static_cast<uint64_t>(1023 + 10 - exponent) << 52);
  // Subnormals and normals alike: the rounded count of units, carried into the exponent by plain addition. Beside 2^52
  // a double has no digits behind the point.
  const auto units = static_cast<uint32_t>(magnitude * scale + 0x1p52 - 0x1p52);
  const uint32_t bits = units + (static_cast<uint32_t>(exponent + 14) << 10);
  return {static_cast<uint16_t>(sign | bits)};
}

bf16 to_bf16(double value) {
  // Rounding twice (to float, then to bf16) is off when the float lands on a tie: round to odd first.
  float single = static_cast<float>(value);
  if (std::isnan(single)) return {0x7fc0};
  uint32_t bits = std::bit_cast<uint32_t>(single);
  const double back = single;
  if (back != value && !std::isinf(single) && (bits & 1) == 0) {
    if (std::fabs(back) > std::fabs(value)) --bits;
    bits |= 1;
  }
  bits += 0x7fff + ((bits >> 16) & 1);
  return {static_cast<uint16_t>(bits >> 16)};
}

int64_t to_int64(double value) {
  if (value != value) return 0;
  if (value >= 0x1p63) return INT64_MAX;
  return value <= -0x1p63 ? INT64_MIN : static_cast<int64_t>(value);
}

uint64_t to_uint64(double value) {
  if (value != value || value < 0x1p63) return static_cast<uint64_t>(to_int64(value));
  return value >= 0x1p64 ? UINT64_MAX : static_cast<uint64_t>(value);
}

double decode_small(DType type, uint8_t bits) {
  switch (type) {
    case DType::i4: return static_cast<int8_t>(bits << 4) >> 4;
    case DType::i2: return static_cast<int8_t>(bits << 6) >> 6;
    case DType::u4: return bits & 15;
    case DType::u2: return bits & 3;
    case DType::f8e8m0: return bits == 255 ? std::numeric_limits<double>::quiet_NaN() : std::ldexp(1.0, bits - 127);
    default: return decode_float(type, bits);
  }
}

uint8_t encode_small(DType type, double value, bool saturate) {
  switch (type) {
    case DType::i4: return static_cast<uint8_t>(static_cast<int64_t>(value) & 15);
    case DType::u4: return static_cast<uint8_t>(static_cast<int64_t>(value) & 15);
    case DType::i2: return static_cast<uint8_t>(static_cast<int64_t>(value) & 3);
    case DType::u2: return static_cast<uint8_t>(static_cast<int64_t>(value) & 3);
    case DType::f8e8m0: {
      if (std::isnan(value)) return 255;
      if (value <= 0) return 0;
      if (std::isinf(value)) return saturate ? 254 : 255;
      int exponent;
      const double fraction = std::frexp(value, &exponent);  // value = fraction * 2^exponent, fraction in [0.5, 1)
      const int power = exponent - 1 + (fraction > 0.75 ? 1 : 0);
      if (power > 127) return saturate ? 254 : 255;
      return static_cast<uint8_t>(std::max(power, -127) + 127);
    }
    default: return encode_float(type, value, saturate);
  }
}

}  // namespace hone
