#include <algorithm>
#include <cmath>

#include "ops/attention.h"
#include "tactics/cuda/after.h"
#include "tactics/cuda/attention.h"
#include "tactics/cuda/gemm.h"
#include "tactics/cuda/source.h"

namespace hone::cuda {

std::string AttentionOperand::at(const char* function, int64_t heads_a_head) const {
  return fmt::format(
      "__device__ inline auto {}(PARAMETERS, int batch, int head, int i) {{ return {} + {} + (i64)batch * {} + "
      "(i64)(head / {}) * {} + (i64)i * {}; }}\n",
      function, name, offset, batch, heads_a_head, head, row);
}

AttentionGeometry attention_geometry(const Problem& given) {
  const Problem problem = view_after(given).plain;
  const Attention& op = *problem.op.as<Attention>();
  const Dims q = dims_of(problem.inputs[0]);
  if (op.layout == "packed") {
    const int64_t length = q[1], heads = q[3], size = q[4], row = 3 * heads * size, batch = length * row;
    const auto operand = [&](int64_t part) { return AttentionOperand{"q", part * heads * size, batch, size, row}; };
    return {q[0],
            heads,
            heads,
            length,
            length,
            size,
            size,
            operand(0),
            operand(1),
            operand(2),
            {"y", 0, length * heads * size, size, heads * size}};
  }
  const Dims k = dims_of(problem.inputs[1]), v = dims_of(problem.inputs[2]);
  const bool rows = op.layout == "rows";
  const size_t head = rows ? 2 : 1, row = rows ? 1 : 2;
  const auto operand = [&](const char* name, const Dims& d, int64_t size) {
    const int64_t below_head = rows ? size : d[row] * size, below_row = rows ? d[head] * size : size;
    return AttentionOperand{name, 0, d[1] * d[2] * size, below_head, below_row};
  };
  return {q[0],
          q[head],
          k[head],
          q[row],
          k[row],
          q[3],
          v[3],
          operand("q", q, q[3]),
          operand("k", k, q[3]),
          operand("v", v, v[3]),
          operand("y", q, v[3])};
}

std::string refuse_attention(const Problem& given) {
  const auto [problem, after, operands] = view_after(given);
  const auto* op = problem.op.as<Attention>();
  if (op == nullptr) return kAnotherOp;
  if (std::string reason = refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  if (problem.outputs.size() > 1) return "its scores are asked for";
  for (size_t i = 4; i < 6; ++i)
    if (has(problem, i) && element_type(problem.inputs[i].dtype) == nullptr)
      return fmt::format("an input of {}", name(problem.inputs[i].dtype));
  if (after) {
    if (std::string reason = refuse_program(*after); !reason.empty()) return reason;
    if (std::ranges::any_of(operands, [](int input) { return input >= 0; })) return "other values join its result";
    // What tensor cores' results leave through is as large as the queries.
    if (size_of(given.outputs[0].dtype) > size_of(problem.inputs[0].dtype)) return "its result is of a larger type";
  }
  const AttentionGeometry g = attention_geometry(given);
  if (has(problem, 3)) {
    const TensorType& mask = problem.inputs[3];
    if (mask.dtype != DType::boolean && !is_real_element(mask.dtype))
      return fmt::format("a mask of {}", name(mask.dtype));
    if (element_count(dims_of(mask)) == 0) return "an empty mask";
  }
  if (element_count(dims_of(problem.outputs[0])) == 0 || g.keys == 0) return "empty";
  return g.batch > 65535 || g.heads > 65535 ? "too many blocks for a grid" : "";
}

namespace {

std::string parameters_of(const Problem& problem, DType result) {
  const char* type = element_type(problem.inputs[0].dtype);
  std::string text = fmt::format("{}* __restrict__ y, const {}* __restrict__ q", element_type(result), type);
  for (size_t i = 1; i < 3; ++i)
    if (has(problem, i)) text += fmt::format(", const {}* __restrict__ {}", type, i == 1 ? "k" : "v");
  if (has(problem, 3)) text += fmt::format(", const {}* __restrict__ mask", element_type(problem.inputs[3].dtype));
  for (const auto& [i, name] : {std::pair{4, "lengths"}, std::pair{5, "offset"}})
    if (has(problem, static_cast<size_t>(i)))
      text +=
          fmt::format(", const {}* __restrict__ {}", element_type(problem.inputs[static_cast<size_t>(i)].dtype), name);
  return text;
}

// Strides of the mask, of any rank up to 4, for [batch][head][query][key]; only its keys do not broadcast.
Dims mask_strides(Dims dims) {
  dims.insert(dims.begin(), 4 - dims.size(), 1);
  Dims strides = strides_of(dims);
  for (size_t d = 0; d < 3; ++d)
    if (dims[d] == 1) strides[d] = 0;
  return strides;
}

std::string keys_seen(const Problem& problem, const AttentionGeometry& g) {
  const bool masked = has(problem, 3), moved = has(problem, 5) && element_count(dims_of(problem.inputs[5])) > 0;
  std::string text =
      fmt::format("  i64 seen = {};\n", masked ? std::min(g.keys, dims_of(problem.inputs[3]).back()) : g.keys);
  if (has(problem, 4)) text += "  seen = least(seen, (i64)lengths[batch]);\n";
  if (problem.op.as<Attention>()->causal)
    text += fmt::format("  seen = least(seen, (i64)query + 1{});\n", moved ? " + (i64)offset[0]" : "");
  return text + "  return (int)most(seen, (i64)0);\n";
}

// What becomes of an element of the result before it is stored.
std::string finish(const std::optional<PointwiseProgram>& after, DType result) {
  return fmt::format("typedef {} Y;\ntypedef {} Result;\n__device__ inline Result finished(float acc) {{\n{}}}\n",
                     element_type(result),
                     is_held_in_float(result) ? "float"
                     : size_of(result) < 4    ? "int"
                                              : "i64",
                     after ? statements(*after, std::vector<std::string>(after->code.size(), "acc")) +
                                 fmt::format("  return v{};\n", after->code.size() - 1)
                           : "  return acc;\n");
}

}  // namespace

std::string attention_definitions(const Problem& given) {
  const auto [problem, after, operands] = view_after(given);
  const DType result = given.outputs[0].dtype;
  const Attention& op = *problem.op.as<Attention>();
  const AttentionGeometry g = attention_geometry(problem);
  const double scale = op.scale == 0 ? 1 / std::sqrt(static_cast<double>(g.size)) : op.scale;
  const std::string parameters = parameters_of(problem, result);
  std::string score = "  float s = product * SCALE;\n";
  if (op.softcap > 0) score += fmt::format("  s = {0} * tanhf(s / {0});\n", float_literal(op.softcap));
  if (has(problem, 3)) {
    const Dims strides = mask_strides(dims_of(problem.inputs[3]));
    const std::string at = fmt::format("mask[(i64)batch * {} + (i64)head * {} + (i64)query * {} + key]", strides[0],
                                       strides[1], strides[2]);
    score += problem.inputs[3].dtype == DType::boolean ? fmt::format("  if (!{}) s = -INF;\n", at)
                                                       : fmt::format("  s += (float){};\n", at);
  }
  const bool adjusted = op.softcap > 0 || has(problem, 3) || scale < 0;
  return fmt::format(R"cuda(
#define QUERIES {}
#define KEYS {}
#define SIZE {}
#define V_SIZE {}
#define SCALE {}
#define ADJUSTED {}
#define PARAMETERS {}
#define ARGUMENTS {}
typedef {} T;
typedef T A;
{}{}{}{}{}
__device__ inline int keys_seen(PARAMETERS, int batch, int query) {{
{}}}
__device__ inline float adjusted(PARAMETERS, float product, int batch, int head, int query, int key) {{
{}  return s;
}}
)cuda",
                     g.queries, g.keys, g.size, g.v_size, float_literal(scale), adjusted ? 1 : 0, parameters,
                     arguments_of(parameters), element_type(problem.inputs[0].dtype), finish(after, result),
                     g.q.at("q_row", 1), g.k.at("k_row", g.heads / g.kv_heads), g.v.at("v_row", g.heads / g.kv_heads),
                     g.y.at("y_row", 1), keys_seen(problem, g), score);
}

}  // namespace hone::cuda
