#pragma once

#include "ir/op.h"

namespace hone {

// quantize(x, scale, zero_point?) = saturate(round_half_even(x / scale) + zero_point) as `type`, an integer type or
// fp8/fp4. Scale and zero point are one element, [x.dims[axis]], or, when block > 0, of x's dims with ceil(dim / block)
// at `axis`. `saturate` false: fp8 overflow becomes NaN or infinity. The quotient is rounded to `precision` (none: the
// scale's type).
struct Quantize {
  static constexpr std::string_view kName = "Quantize";
  DType type = DType::u8;
  int64_t axis = 1, block = 0;
  bool saturate = true;
  DType precision = DType::none;

  static void fields(auto& self, auto&& field) {
    field("type", self.type);
    field("axis", self.axis);
    field("block", self.block);
    field("saturate", self.saturate);
    field("precision", self.precision);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// dequantize(x, scale, zero_point?) = (x - zero_point) * scale as `type`; scale and zero point as in Quantize.
struct Dequantize {
  static constexpr std::string_view kName = "Dequantize";
  DType type = DType::f32;
  int64_t axis = 1, block = 0;

  static void fields(auto& self, auto&& field) {
    field("type", self.type);
    field("axis", self.axis);
    field("block", self.block);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// values u8, scale f32, zero u8 = dynamic_quantize(x), x in f32: quantize(x, scale, zero) where u8 just holds
// x's range, widened to hold 0. Each step is rounded to f32: scale = (high - low) / 255, or 1 where that is 0;
// zero = round_half_even(clip(-low / scale, 0, 255)). NaN gives 0, and makes the scale NaN.
struct DynamicQuantize {
  static constexpr std::string_view kName = "DynamicQuantize";

  static void fields(auto&, auto&&) {}
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
