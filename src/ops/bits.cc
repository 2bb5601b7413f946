#include "ops/bits.h"

#include <cstring>

#include "ops/elements.h"
#include "ops/table.h"

namespace hone {
namespace {

// 0 for strings, which have none.
size_t bit_width(DType type) {
  switch (type) {
    case DType::i4:
    case DType::u4:
    case DType::f4e2m1: return 4;
    case DType::i2:
    case DType::u2: return 2;
    default: return 8 * size_of(type);
  }
}

}  // namespace

Result<Types> BitCast::infer(const InferArgs& args) const {
  HONE_CHECK(require_inputs(args.types, 1));
  const TensorType& x = args.type(0);
  if (bit_width(x.dtype) == 0 || bit_width(x.dtype) != bit_width(to))
    return invalid("the bits of {} are not those of {}", name(x.dtype), name(to));
  return Types{{to, x.shape}};
}

Result<Tensors> BitCast::evaluate(const EvalArgs& args) const {
  Tensor out(to, args[0].dims());
  std::memcpy(out.mutable_raw(), args[0].raw(), out.bytes());
  return Tensors{out};
}

std::span<const OpRow> bits_ops() {
  static constexpr OpRow kRows[] = {op_row<BitCast>()};
  return kRows;
}

}  // namespace hone
