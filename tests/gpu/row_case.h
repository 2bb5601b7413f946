#pragma once

#include "gpu/ops.h"

// Small problems that take a GPU's kernel through all it has: more than one turn of each loop, a remainder in each dim,
// each stage of a ring used again, several tiles a block. compute-sanitizer, which slows kernels a hundred times and
// more, comes to an end with them.
namespace hone {

struct RowCase {
  const char* tactic;
  std::vector<DType> types;  // of kRowTypes; a tactic's cases have among them all that it takes
  Case (*of)(DType);
  bool layer = false;  // also with what a network's layer does to its sums, as one step
};

inline const std::vector<DType> kRowTypes{DType::f32, DType::f16, DType::bf16, DType::i8, DType::f8e4m3fn};
inline const std::vector<DType> kFloats{DType::f32, DType::f16, DType::bf16}, kHalves{DType::f16, DType::bf16};
inline const std::vector<DType> kNotFp8{DType::f32, DType::f16, DType::bf16, DType::i8};

// Whole numbers that every type holds, so small that sums of their products are exact in fp32, and the sums of a stage
// of e4m3 in the 14 bits that tensor cores add with: kernels differ in the order of sums and give the same bits.
inline Input few(Dims dims) {
  Input input = whole(DType::f32, std::move(dims), -3, 4);
  input.reduced = true;
  return input;
}

inline Input weights(Dims dims) {
  Input input = few(std::move(dims));
  input.constant = true;
  return input;
}

// As many elements as make up `bytes`.
inline int64_t in_bytes(DType type, int64_t bytes) { return bytes / static_cast<int64_t>(size_of(type)); }

}  // namespace hone
