#pragma once

#include "base/pointwise.h"
#include "base/tensor.h"

namespace hone {

// Evaluates a pointwise program for one element at a time, floats in double and integers in 64 bits wrapped to their
// type. Floats are rounded to their type only by casts and by the store.
class ScalarProgram {
 public:
  explicit ScalarProgram(const PointwiseProgram& program);

  // out[index] = program(inputs[k][offsets[k]]...)
  void run(std::span<const Tensor> inputs, std::span<const int64_t> offsets, Tensor& out, int64_t index);

 private:
  struct Number {
    double real = 0;
    int64_t whole = 0;
  };
  Number apply(const PointwiseInstr& instr, DType operand) const;

  const PointwiseProgram& program_;
  std::vector<Number> registers_;
};

}  // namespace hone
