#include "ops/pointwise.h"

#include <algorithm>

#include "base/counted.h"
#include "ops/pointwise_eval.h"
#include "ops/table.h"

namespace hone {
namespace {

// Strides of `dims` seen under the broadcast shape `out`: 0 along broadcast dims.
Dims broadcast_strides(const Dims& dims, const Dims& out) {
  const Dims own = strides_of(dims);
  Dims strides(out.size(), 0);
  const size_t shift = out.size() - dims.size();
  for (size_t i = 0; i < dims.size(); ++i) strides[i + shift] = dims[i] == 1 ? 0 : own[i];
  return strides;
}

// Advances a multi-index and the matching flat offsets by one element.
void advance(Dims& at, std::vector<int64_t>& offsets, const Dims& out, const std::vector<Dims>& strides) {
  for (size_t d = out.size(); d-- > 0;) {
    for (size_t i = 0; i < offsets.size(); ++i) offsets[i] += strides[i][d];
    if (++at[d] < out[d]) return;
    for (size_t i = 0; i < offsets.size(); ++i) offsets[i] -= strides[i][d] * out[d];
    at[d] = 0;
  }
}

}  // namespace

Result<Types> Pointwise::infer(const InferArgs& args) const {
  if (program.code.empty()) return invalid("pointwise program is empty");
  if (static_cast<size_t>(program.inputs()) > args.types.size())
    return invalid("pointwise program needs {}", counted(program.inputs(), "input"));
  Shape shape;
  for (const TensorType& type : args.types) {
    if (!type.defined()) return invalid("pointwise input is absent");
    HONE_TRY(shape, broadcast(shape, type.shape));
  }
  for (const PointwiseInstr& instr : program.code) {
    if (size_of(instr.type) == 0 || is_complex(instr.type))
      return unsupported("pointwise functions do not compute a {}", name(instr.type));
    if (instr.fn != Fn::input) continue;
    const DType actual = args.type(static_cast<size_t>(instr.input)).dtype;
    if (actual != instr.type)
      return invalid("input {} is {}, expected {}", instr.input, name(actual), name(instr.type));
  }
  return Types{{program.result_type(), shape}};
}

Result<Tensors> Pointwise::evaluate(const EvalArgs& args) const {
  Shape shape;
  for (const Tensor& input : args.inputs) {
    HONE_TRY(shape, broadcast(shape, Shape::of(input.dims())));
  }
  const Dims out_dims = *shape.concrete();
  Tensor out(program.result_type(), out_dims);
  std::vector<Dims> strides;
  for (const Tensor& input : args.inputs) strides.push_back(broadcast_strides(input.dims(), out_dims));

  ScalarProgram scalar(program);
  Dims at(out_dims.size(), 0);
  std::vector<int64_t> offsets(args.inputs.size(), 0);
  const int64_t count = out.count();
  for (int64_t i = 0; i < count; ++i) {
    scalar.run(args.inputs, offsets, out, i);
    advance(at, offsets, out_dims, strides);
  }
  return Tensors{out};
}

std::span<const OpRow> pointwise_ops() {
  static constexpr OpRow kRows[] = {op_row<Pointwise>()};
  return kRows;
}

}  // namespace hone
