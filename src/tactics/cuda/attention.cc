#include "ops/attention.h"

#include <cmath>

#include "kernels/cuda/attention.cuh.h"
#include "kernels/cuda/attention_mma.cuh.h"
#include "kernels/cuda/block.cuh.h"
#include "tactics/cuda/gemm.h"
#include "tactics/cuda/kernel.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

constexpr int64_t kMostKeys = 12000;  // whose scores fit in 48 KiB
constexpr int64_t kMostSize = 128;    // of a head on tensor cores: its fragments stay in registers
constexpr int64_t kBlock = 64;        // queries and keys of a block there

// Where an operand's element [batch][head][row][i] lies.
struct Operand {
  const char* name;
  int64_t offset, batch, head, row;

  std::string at(const char* function, int64_t heads_a_head) const {
    return fmt::format(
        "__device__ inline auto {}(PARAMETERS, int batch, int head, int i) {{ return {} + {} + (i64)batch * {} + "
        "(i64)(head / {}) * {} + (i64)i * {}; }}\n",
        function, name, offset, batch, heads_a_head, head, row);
  }
};

struct Geometry {
  int64_t batch, heads, kv_heads, queries, keys, size, v_size;
  Operand q, k, v, y;
};

Geometry geometry_of(const Problem& problem) {
  const Attention& op = *problem.op.as<Attention>();
  const Dims q = dims_of(problem.inputs[0]);
  if (op.layout == "packed") {
    const int64_t length = q[1], heads = q[3], size = q[4], row = 3 * heads * size, batch = length * row;
    const auto operand = [&](int64_t part) { return Operand{"q", part * heads * size, batch, size, row}; };
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
    return Operand{name, 0, d[1] * d[2] * size, below_head, below_row};
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

std::string supports(const Problem& problem) {
  const auto* op = problem.op.as<Attention>();
  if (op == nullptr) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  if (problem.outputs.size() > 1) return "its scores are asked for";
  for (size_t i = 4; i < 6; ++i)
    if (has(problem, i) && cuda::element_type(problem.inputs[i].dtype) == nullptr)
      return fmt::format("an input of {}", name(problem.inputs[i].dtype));
  const Geometry g = geometry_of(problem);
  if (has(problem, 3)) {
    const TensorType& mask = problem.inputs[3];
    if (mask.dtype != DType::boolean && !cuda::is_real_element(mask.dtype))
      return fmt::format("a mask of {}", name(mask.dtype));
    if (element_count(dims_of(mask)) == 0) return "an empty mask";
  }
  if (element_count(dims_of(problem.outputs[0])) == 0 || g.keys == 0) return "empty";
  if (g.keys > kMostKeys) return fmt::format("more than {} keys", kMostKeys);
  return g.batch > 65535 || g.heads > 65535 ? "too many blocks for a grid" : "";
}

std::string parameters_of(const Problem& problem) {
  const char* type = cuda::element_type(problem.inputs[0].dtype);
  std::string text = fmt::format("{0}* __restrict__ y, const {0}* __restrict__ q", type);
  for (size_t i = 1; i < 3; ++i)
    if (has(problem, i)) text += fmt::format(", const {}* __restrict__ {}", type, i == 1 ? "k" : "v");
  if (has(problem, 3))
    text += fmt::format(", const {}* __restrict__ mask", cuda::element_type(problem.inputs[3].dtype));
  for (const auto& [i, name] : {std::pair{4, "lengths"}, std::pair{5, "offset"}})
    if (has(problem, static_cast<size_t>(i)))
      text += fmt::format(", const {}* __restrict__ {}",
                          cuda::element_type(problem.inputs[static_cast<size_t>(i)].dtype), name);
  return text;
}

std::string definitions(const Problem& problem) {
  const Attention& op = *problem.op.as<Attention>();
  const Geometry g = geometry_of(problem);
  const double scale = op.scale == 0 ? 1 / std::sqrt(static_cast<double>(g.size)) : op.scale;
  const std::string parameters = parameters_of(problem);
  std::string score = fmt::format("  float s = product * {};\n", cuda::float_literal(scale));
  if (op.softcap > 0) score += fmt::format("  s = {0} * tanhf(s / {0});\n", cuda::float_literal(op.softcap));
  if (has(problem, 3)) {
    const Dims mask = dims_of(problem.inputs[3]);
    score += fmt::format(
        "  if (key >= {0}) return -INF;\n  const i64 index = (((i64)batch * {1} + head) * QUERIES + query) "
        "* {0} + key;\n",
        mask.back(), g.heads);
    const std::string at =
        "mask[" + cuda::broadcast_index(mask, {g.batch, g.heads, g.queries, mask.back()}, "index") + "]";
    score += problem.inputs[3].dtype == DType::boolean ? fmt::format("  if (!{}) s = -INF;\n", at)
                                                       : fmt::format("  s += (float){};\n", at);
  }
  if (has(problem, 4)) score += "  if (key >= lengths[batch]) s = -INF;\n";
  const bool moved = has(problem, 5) && element_count(dims_of(problem.inputs[5])) > 0;
  if (op.causal) score += fmt::format("  if (key > query{}) s = -INF;\n", moved ? " + offset[0]" : "");
  const int64_t group = g.heads / g.kv_heads;
  return fmt::format(R"cuda(
#define QUERIES {}
#define KEYS {}
#define SIZE {}
#define V_SIZE {}
#define PARAMETERS {}
#define ARGUMENTS {}
typedef {} T;
typedef T A;
{}{}{}{}
__device__ inline float score(PARAMETERS, float product, int batch, int head, int query, int key) {{
{}  return s;
}}
)cuda",
                     g.queries, g.keys, g.size, g.v_size, parameters, cuda::arguments_of(parameters),
                     cuda::element_type(problem.inputs[0].dtype), g.q.at("q_row", 1), g.k.at("k_row", group),
                     g.v.at("v_row", group), g.y.at("y_row", 1), score);
}

Result<cuda::Source> source(const Problem& problem) {
  return cuda::Source{kernels::block_cuh + definitions(problem) + kernels::attention_cuh};
}

cuda::Launch launch(const Problem& problem) {
  const Geometry g = geometry_of(problem);
  return {.grid = {static_cast<unsigned>(g.queries), static_cast<unsigned>(g.heads), static_cast<unsigned>(g.batch)},
          .block = {256},
          .shared_bytes = static_cast<unsigned>(g.keys * 4)};
}

std::string supports_mma(const Problem& problem) {
  if (std::string reason = supports(problem); !reason.empty()) return reason;
  if (problem.inputs[0].dtype == DType::f32) return "f32 elements";
  const Geometry g = geometry_of(problem);
  if (g.size % 16 != 0 || g.v_size % 16 != 0) return "a head's size is not a multiple of 16";
  return g.size > kMostSize || g.v_size > kMostSize ? fmt::format("a head larger than {}", kMostSize) : "";
}

Result<cuda::Source> mma_source(const Problem& problem) {
  const char* kind = problem.inputs[0].dtype == DType::f16 ? "f16.f16" : "bf16.bf16";
  return cuda::Source{definitions(problem) +
                      fmt::format("#define MMA \"mma.sync.aligned.m16n8k16.row.col.f32.{}.f32\"\n", kind) +
                      kernels::attention_mma_cuh};
}

cuda::Launch mma_launch(const Problem& problem) {
  const Geometry g = geometry_of(problem);
  return {.grid = {static_cast<unsigned>(cuda::blocks(g.queries, kBlock)), static_cast<unsigned>(g.heads),
                   static_cast<unsigned>(g.batch)},
          .block = {128},
          .shared_bytes = static_cast<unsigned>(2 * kBlock * (g.size + 8 + g.v_size + 8) * 2)};
}

}  // namespace

std::span<const Tactic> cuda_attention_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports_mma, mma_source, mma_launch>("cuda.attention_mma"),
                                     cuda::row<supports, source, launch>("cuda.attention", 2)};
  return kRows;
}

}  // namespace hone
