#pragma once

#include <string>

#include "base/pointwise.h"
#include "ir/type.h"

// Pieces of CUDA C++ that the kernels of the portable tier are put together from. Shapes are constants of the source.
namespace hone::cuda {

// The functions that generated code calls.
extern const char* const kPrelude;

// The type that holds an element in memory, or null when the kernels have none for it.
const char* element_type(DType type);
// An unsigned integer of that many bytes: for kernels that only move elements. Null when there is none.
const char* unsigned_type(size_t bytes);

// The flat index into a tensor of `dims`, for the element `index` of the tensor `of` that it broadcasts to.
std::string broadcast_index(const Dims& dims, const Dims& of, const std::string& index);
// The flat index sum(coordinate(d) * strides[d]) + offset, where the coordinates are those of `index` in `of`.
std::string strided_index(const Dims& of, const Dims& strides, int64_t offset, const std::string& index);

// Why the kernels cannot compute `program`, or empty.
std::string refuse_program(const PointwiseProgram& program);
// Statements that define v0, v1, ... with the result in the last; input i is the expression inputs[i].
std::string statements(const PointwiseProgram& program, const std::vector<std::string>& inputs);

}  // namespace hone::cuda
