// Quantize and Dequantize that were not joined to what is around them: one element a thread.
#include "ops/quantize.h"

#include "ops/elements.h"
#include "tactics/cuda/movable.h"

namespace hone {
namespace {

// Why the tensors, whose integers are of that type, cannot be computed with, or empty.
std::string refuse_types(const Problem& problem, DType integers) {
  if (!problem.is_static()) return "shapes are not fixed";
  if (!is_integer(integers)) return fmt::format("{} elements", name(integers));
  for (const TensorType& t : problem.inputs)
    if (t.defined() && cuda::element_type(t.dtype) == nullptr) return fmt::format("{} elements", name(t.dtype));
  if (cuda::element_type(problem.outputs[0].dtype) == nullptr)
    return fmt::format("{} elements", name(problem.outputs[0].dtype));
  if (!cuda::is_real_element(problem.inputs[1].dtype))
    return fmt::format("scales of {}", name(problem.inputs[1].dtype));
  return element_count(dims_of(problem.outputs[0])) == 0 ? "empty" : "";
}

// The index of the scale of the element i.
std::string scale_index(const Problem& problem, int64_t axis, int64_t block) {
  const Dims x = dims_of(problem.inputs[0]), scale = dims_of(problem.inputs[1]);
  const auto rank = static_cast<int64_t>(x.size());
  if (block == 0 && scale.size() <= 1 && element_count(scale) == 1) return "0";
  const int64_t at = axis < 0 ? axis + rank : axis, inner = span_count(x, at + 1, rank),
                dim = x[static_cast<size_t>(at)];
  if (block == 0) return fmt::format("i / {} % {}", inner, dim);
  return fmt::format("(i / {0} * {1} + i / {2} % {3} / {4}) * {2} + i % {2}", inner * dim, (dim + block - 1) / block,
                     inner, dim, block);
}

// `value` computes `result` from x[i], `scale` and the whole number `zero`.
cuda::Source source_of(const Problem& problem, const std::string& scale, const std::string& value) {
  const auto type = [&](size_t i) { return cuda::element_type(problem.inputs[i].dtype); };
  const bool zeros = has(problem, 2);
  return {fmt::format(R"cuda(
typedef {0} T;
extern "C" __global__ void kernel(T* __restrict__ y, const {1}* __restrict__ x, const {2}* __restrict__ scales{3}) {{
  begin();
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= {4}) return;
  const i64 at = {5}, zero = {6};
  const float scale = scales[at];
{7}  y[i] = (T)result;
}}
)cuda",
                      cuda::element_type(problem.outputs[0].dtype), type(0), type(1),
                      zeros ? fmt::format(", const {}* __restrict__ zeros", type(2)) : "",
                      element_count(dims_of(problem.outputs[0])), scale, zeros ? "(i64)zeros[at]" : "0", value)};
}

std::string quantize_supports(const Problem& problem) {
  const auto* op = problem.op.as<Quantize>();
  if (op == nullptr) return kAnotherOp;
  if (op->precision != DType::none && !cuda::is_real_element(op->precision))
    return fmt::format("a quotient in {}", name(op->precision));
  return refuse_types(problem, problem.outputs[0].dtype);
}

Result<cuda::Source> quantize_source(const Problem& problem) {
  const Quantize& op = *problem.op.as<Quantize>();
  const DType type = problem.outputs[0].dtype,
              precision = op.precision == DType::none ? problem.inputs[1].dtype : op.precision;
  const int64_t range = int64_t{1} << (8 * size_of(type));
  return source_of(problem, scale_index(problem, op.axis, op.block),
                   fmt::format("  const float quotient = ({0})((float)({0})(float)x[i] / (float)({0})scale);\n"
                               "  const i64 whole = to_integer(fminf(fmaxf(rintf(quotient), -1e12f), 1e12f)) + zero;\n"
                               "  const i64 result = isnan(quotient) ? 0 : least(most(whole, {1}LL), {2}LL);\n",
                               cuda::element_type(precision), is_signed(type) ? -range / 2 : 0,
                               (is_signed(type) ? range / 2 : range) - 1));
}

std::string dequantize_supports(const Problem& problem) {
  if (problem.op.as<Dequantize>() == nullptr) return kAnotherOp;
  return refuse_types(problem, problem.inputs[0].dtype);
}

Result<cuda::Source> dequantize_source(const Problem& problem) {
  const Dequantize& op = *problem.op.as<Dequantize>();
  return source_of(problem, scale_index(problem, op.axis, op.block),
                   "  const float result = (float)((i64)x[i] - zero) * scale;\n");
}

}  // namespace

std::span<const Tactic> cuda_quantize_tactics() {
  static constexpr Tactic kRows[] = {
      cuda::row<quantize_supports, quantize_source, cuda::launch_output>("cuda.quantize"),
      cuda::row<dequantize_supports, dequantize_source, cuda::launch_output>("cuda.dequantize")};
  return kRows;
}

}  // namespace hone
