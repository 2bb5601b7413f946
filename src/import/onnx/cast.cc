#include <cmath>
#include <limits>

#include "import/onnx/expr.h"
#include "import/onnx/importer.h"
#include "ops/bits.h"
#include "ops/strings.h"

namespace hone::import_onnx {
namespace {

bool is_fp8(DType type) { return type >= DType::f8e4m3fn && type <= DType::f8e8m0; }

// Rounds x to a power of two by arithmetic on the bits of its f32: the mantissa is dropped after enough was added to it
// to carry into the exponent. The format's cast is exact for what remains.
ValueId to_power_of_two(NodeImport& n, ValueId x, const std::string& round_mode) {
  constexpr double kMantissa = 0x7fffff, kHalf = 0x400000, kExponent = 0x7f800000;
  const double carry = round_mode == "up" ? kMantissa : round_mode == "nearest" ? kHalf : 0;
  const ValueId single = n.cast(x, DType::f32);
  Formula round;
  const Expr bits = round.input(DType::i32);
  const Expr whole = apply(Fn::bit_and, bits + carry, bits.like(kExponent));
  const ValueId rounded =
      n.add(BitCast{DType::f32}, {n.pointwise(round.program(whole), {n.add(BitCast{DType::i32}, {single})})});
  // NaN stays, and the carry of infinity would leave its exponent.
  Formula pick;
  const Expr before = pick.input(DType::f32), after = pick.input(DType::f32);
  const Expr finite = apply(Fn::less, apply(Fn::abs, before), std::numeric_limits<double>::infinity());
  return n.pointwise(pick.program(where(finite, after, before)), {single, rounded});
}

void output_cast(NodeImport& n, DType to) {
  ValueId x = n.input(0);
  if (n.failed()) return;
  const DType from = n.type(x).dtype;
  if (from == DType::none) return n.invalid("the input is absent");
  const bool saturate = n.i("saturate", 1) != 0;
  const std::string round_mode = n.s("round_mode", "up");
  if (round_mode != "up" && round_mode != "down" && round_mode != "nearest")
    return n.invalid("round_mode '{}' is unknown", round_mode);
  if (from == to) return n.output(0, x);
  if (is_complex(from) || is_complex(to)) return n.unsupported("casts from {} to {}", name(from), name(to));
  if (from == DType::string || to == DType::string) return n.output(0, n.add(CastString{to}, {x}));
  if (to == DType::f8e8m0) x = to_power_of_two(n, x, round_mode);
  if (n.failed()) return;
  const Fn fn = is_fp8(to) && saturate ? Fn::cast_saturate : Fn::cast;
  n.output(0, n.pointwise(single(fn, n.type(x).dtype, to), {x}));
}

void import_cast(NodeImport& n) {
  if (!n.has("to")) return n.invalid("attribute 'to' is missing");
  output_cast(n, n.dtype("to"));
}

void import_cast_like(NodeImport& n) {
  const ValueId target = n.input(1);
  if (target == ValueId::none) return n.invalid("input 1 is absent");
  output_cast(n, n.type(target).dtype);
}

void import_bit_cast(NodeImport& n) {
  if (!n.has("to")) return n.invalid("attribute 'to' is missing");
  n.output(0, n.add(BitCast{n.dtype("to")}, {n.input(0)}));
}

}  // namespace

std::span<const ImporterRow> cast_importers() {
  static constexpr ImporterRow kRows[] = {
      {"Cast", import_cast},
      {"CastLike", import_cast_like},
      {"BitCast", import_bit_cast},
  };
  return kRows;
}

}  // namespace hone::import_onnx
