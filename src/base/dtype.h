#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/status.h"

namespace hone {

// Element types. Types narrower than a byte (i4, u4, f4e2m1) are held one element a byte.
enum class DType : uint8_t {
  none, f32, f64, f16, bf16, i8, i16, i32, i64, u8, u16, u32, u64, boolean, string,
  f8e4m3fn, f8e4m3fnuz, f8e5m2, f8e5m2fnuz, f8e8m0, i4, u4, i2, u2, f4e2m1, c64, c128,
  sequence,  // a list of tensors: see Tensor::items
};

std::string_view name(DType type);
std::optional<DType> dtype_from_name(std::string_view name);

// Bytes an element takes in memory; 0 for strings and sequences, which own their storage.
size_t size_of(DType type);

bool is_float(DType type);    // real floating point, fp8 and fp4 included
bool is_integer(DType type);  // signed and unsigned, not boolean
bool is_signed(DType type);   // signed integers and floats
bool is_complex(DType type);

// Storage types for the formats that C++ lacks. Conversion rounds to nearest even;
// fp8 saturates to the largest finite value where ONNX says so (see convert.h).
struct f16 { uint16_t bits; };
struct bf16 { uint16_t bits; };

float to_float(f16 value);
float to_float(bf16 value);
f16 to_f16(double value);
bf16 to_bf16(double value);
// Towards 0; what is beyond the range is the nearest integer in it, or of a negative number as u64 that of to_int64().
// NaN is 0.
int64_t to_int64(double value);
uint64_t to_uint64(double value);

// Decodes one byte of an fp8, fp4 or 4/2-bit integer type to its exact value.
double decode_small(DType type, uint8_t bits);
// Encodes with round to nearest even; `saturate` clamps overflow to the largest finite value, else it becomes NaN or
// infinity as the format has.
uint8_t encode_small(DType type, double value, bool saturate = true);

}  // namespace hone
