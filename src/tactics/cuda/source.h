#pragma once

#include <string>

#include "base/pointwise.h"
#include "tactics/tactic.h"

// Pieces of CUDA C++ that the kernels of the portable tier are put together from. Shapes are constants of the source.
namespace hone::cuda {

// `value` as a float, exactly.
std::string float_literal(double value);

// The type that holds an element in memory, or null when the kernels have none for it.
const char* element_type(DType type);
// Whether it is a type that kernels compute with in float.
bool is_real_element(DType type);
// Whether elements of it are floats to a kernel that holds them: those above and e4m3.
bool is_held_in_float(DType type);
// The type that products of such elements are summed in, or null when there are no kernels for them.
const char* sum_type(DType type);
// Why a kernel for fixed shapes and such an input cannot do the problem, or empty.
std::string refuse_unless_fixed_real(const Problem& problem);
// How many neighbouring elements a thread takes at once (16 bytes) of rows of `extent`; 1 when they do not divide it.
int run_of(DType type, int64_t extent);
// An unsigned integer of that many bytes: for kernels that only move elements. Null when there is none.
const char* unsigned_type(size_t bytes);

// The flat index into a tensor of `dims`, for the element `index` of the tensor `of` that it broadcasts to.
std::string broadcast_index(const Dims& dims, const Dims& of, const std::string& index);
// The flat index sum(coordinate(d) * strides[d]) + offset, where the coordinates are those of `index` in `of`.
std::string strided_index(const Dims& of, const Dims& strides, int64_t offset, const std::string& index);

// Operands of RUN neighbouring results, the first of which is the element `index` of the output; a run lies inside the
// output's last dim.
struct RunOperands {
  std::string fields;         // of a struct, for the operands that have an element for each result
  std::string fetches;        // values of the fields, for its initialiser
  std::string column_fields;  // the same for those that depend on the place in the last dim alone
  std::string column_fetches;
  std::string loads;  // statements that load the others

  // The expression for the operand of result `j`, an element of the tensor `name` that broadcasts to `of`.
  // `has_columns`: a struct Columns is at hand.
  std::string add(const std::string& name, DType type, const Dims& dims, const Dims& of, bool has_columns = false);
  // The same for a tensor with an element for each place in the last dim.
  std::string add_column(const std::string& name, DType type);
  // Defines struct Operands, with a way to load them all ahead: `Operands operands_at(parameters, i64 index)`.
  std::string define(const std::string& parameters) const;
  // Defines struct Columns, with `Columns columns_at(parameters, int n)`.
  std::string define_columns(const std::string& parameters) const;
};

// Why the kernels cannot compute `program`, or empty.
std::string refuse_program(const PointwiseProgram& program);
// Whether the result is the nearest whole number between bounds, as i8: a value in steps.
bool ends_in_quantising(const PointwiseProgram& program);
// Statements that define v0, v1, ... with the result in the last, an i8 in its lowest byte alone; input i is the
// expression inputs[i].
std::string statements(const PointwiseProgram& program, const std::vector<std::string>& inputs);

}  // namespace hone::cuda
