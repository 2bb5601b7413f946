// Reductions of rows: a block of 256 threads for each.
#include <algorithm>
#include <bit>
#include <set>

#include "kernels/cuda/block.cuh.h"
#include "kernels/cuda/reduce_columns.cuh.h"
#include "ops/elements.h"
#include "ops/norm.h"
#include "tactics/cuda/after.h"
#include "tactics/cuda/gemm.h"
#include "tactics/cuda/reduced.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

constexpr unsigned kThreads = 256;

const char* type_of(const Problem& problem) { return cuda::element_type(problem.inputs[0].dtype); }

// `outer` rows of `inner` interleaved ones, of `extent` elements each.
struct Rows {
  int64_t outer = 1, extent = 1, inner = 1;
};

std::string refuse_rows(const Rows& rows) {
  if (rows.outer * rows.inner == 0 || rows.extent == 0) return "empty";
  return rows.outer * rows.inner > INT32_MAX ? "more than 2^31 rows" : "";
}

cuda::Launch launch_rows(const Rows& rows) { return {{static_cast<unsigned>(rows.outer * rows.inner)}, {kThreads}}; }

Rows rows_along(const Dims& dims, int64_t axis, bool to_end) {
  const auto rank = static_cast<int64_t>(dims.size());
  const int64_t at = axis < 0 ? axis + rank : axis, end = to_end ? rank : at + 1;
  return {span_count(dims, 0, at), span_count(dims, at, end), span_count(dims, end, rank)};
}

Rows softmax_rows(const Problem& problem) {
  return rows_along(dims_of(problem.inputs[0]), problem.op.as<Softmax>()->axis, false);
}

std::string softmax_supports(const Problem& problem) {
  if (problem.op.as<Softmax>() == nullptr) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  return problem.inputs[0].shape.rank() == 0 ? "a scalar" : refuse_rows(softmax_rows(problem));
}

Result<cuda::Source> softmax_source(const Problem& problem) {
  const Rows rows = softmax_rows(problem);
  const bool log = problem.op.as<Softmax>()->log;
  return cuda::Source{kernels::block_cuh + fmt::format(R"cuda(
#define EXTENT {}
#define INNER {}
typedef {} T;
extern "C" __global__ void kernel(T* y, const T* x) {{
  begin();
  const i64 base = (i64)(blockIdx.x / INNER) * EXTENT * INNER + blockIdx.x % INNER;
  float largest = -INF, sum = 0;
  for (int i = threadIdx.x; i < EXTENT; i += {}) largest = most(largest, x[base + (i64)i * INNER]);
  largest = reduce_block<combine_max>(largest, -INF);
  for (int i = threadIdx.x; i < EXTENT; i += {}) sum += expf(x[base + (i64)i * INNER] - largest);
  sum = reduce_block<combine_sum>(sum, 0);
  for (int i = threadIdx.x; i < EXTENT; i += {}) {{
    const float v = x[base + (i64)i * INNER] - largest;
    y[base + (i64)i * INNER] = (T)({});
  }}
}}
)cuda",
                                                       rows.extent, rows.inner, type_of(problem), kThreads, kThreads,
                                                       kThreads, log ? "v - logf(sum)" : "expf(v) / sum")};
}

cuda::Launch softmax_launch(const Problem& problem) { return launch_rows(softmax_rows(problem)); }

Rows norm_rows(const Problem& problem) {
  return rows_along(dims_of(problem.inputs[0]), problem.op.as<LayerNorm>()->axis, true);
}

std::string norm_supports(const Problem& problem) {
  const auto* op = problem.op.as<LayerNorm>();
  if (op == nullptr) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  if (problem.outputs.size() > 1) return "its statistics are asked for";
  return refuse_rows(norm_rows(problem));
}

// Two passes: the variance is that of what is left when the mean is gone.
Result<cuda::Source> norm_source(const Problem& problem) {
  const LayerNorm& op = *problem.op.as<LayerNorm>();
  const Rows rows = norm_rows(problem);
  const Dims x = dims_of(problem.inputs[0]);
  std::string parameters, affine;
  for (size_t i = 1; i < 3; ++i) {
    if (!has(problem, i)) continue;
    parameters += fmt::format(", const {}* p{}", cuda::element_type(problem.inputs[i].dtype), i);
    affine += fmt::format("    v {} p{}[{}];\n", i == 1 ? "*=" : "+=", i,
                          cuda::broadcast_index(dims_of(problem.inputs[i]), x, "(base + i)"));
  }
  const std::string mean = op.rms ? ""
                                  : fmt::format(
                                        "  for (int i = threadIdx.x; i < EXTENT; i += {}) mean += x[base + i];\n"
                                        "  mean = reduce_block<combine_sum>(mean, 0) / EXTENT;\n",
                                        kThreads);
  return cuda::Source{kernels::block_cuh + fmt::format(R"cuda(
#define EXTENT {}
typedef {} T;
extern "C" __global__ void kernel(T* y, const T* x{}) {{
  begin();
  const i64 base = (i64)blockIdx.x * EXTENT;
  float mean = 0, square = 0;
{}  for (int i = threadIdx.x; i < EXTENT; i += {}) square += ((float)x[base + i] - mean) * ((float)x[base + i] - mean);
  const float scale = 1 / sqrtf(reduce_block<combine_sum>(square, 0) / EXTENT + {});
  for (int i = threadIdx.x; i < EXTENT; i += {}) {{
    float v = (x[base + i] - mean) * scale;
{}    y[base + i] = (T)v;
  }}
}}
)cuda",
                                                       rows.extent, type_of(problem), parameters, mean, kThreads,
                                                       cuda::float_literal(op.epsilon), kThreads, affine)};
}

cuda::Launch norm_launch(const Problem& problem) { return launch_rows(norm_rows(problem)); }

// A warp a row, which it holds in registers.
constexpr int64_t kNormWarps = 8;
constexpr int64_t kMostNormExtent = 4096, kMostEarlyExtent = 1024;

// Whether the norm's rows have an element of the tensor each, at the same place in all of them.
bool is_column(const Problem& norm, const TensorType& type) {
  const Dims dims = dims_of(type), x = dims_of(norm.inputs[0]);
  const int64_t extent = norm_rows(norm).extent;
  return extent == x.back() && !dims.empty() && dims.back() == extent && element_count(dims) == extent;
}

std::string norm_warp_supports(const Problem& given) {
  const auto [problem, after, operands] = cuda::view_after(given);
  if (std::string reason = norm_supports(problem); !reason.empty()) return reason;
  if (after)
    if (std::string reason = cuda::refuse_program(*after); !reason.empty()) return reason;
  const Rows rows = norm_rows(problem);
  if (cuda::run_of(problem.inputs[0].dtype, rows.extent) == 1) return "rows are not a multiple of 16 bytes";
  if (rows.extent > kMostNormExtent) return fmt::format("rows of more than {}", kMostNormExtent);
  for (size_t i = 1; i < 3; ++i)
    if (has(problem, i) && element_count(dims_of(problem.inputs[i])) != rows.extent)
      return "scale or bias are not a row";
  for (const int input : operands) {
    if (input < 0) continue;
    const TensorType& type = given.inputs[static_cast<size_t>(input)];
    if (!cuda::is_real_element(type.dtype) || !is_column(problem, type)) return "more than a row joins its result";
  }
  return {};
}

// What a norm reads beside its rows, and what it does to `norm`, an element of its result.
struct NormText {
  std::string parameters, ahead, loads, result;
};

NormText norm_text(const Problem& given) {
  const auto [problem, after, operands] = cuda::view_after(given);
  const int64_t extent = norm_rows(problem).extent;
  NormText text;
  std::set<int> read;
  const auto element = [&](int input) {
    const auto i = static_cast<size_t>(input);
    if (read.insert(input).second) {
      const char* type = cuda::element_type(given.inputs[i].dtype);
      text.parameters += fmt::format(", const {}* p{}", type, i);
      // Constants do not wait for the launch ahead; of long rows they would take too many registers.
      const bool early = given.is_constant(i) && extent <= kMostEarlyExtent;
      (early ? text.ahead : text.loads) += fmt::format(
          "  Run<{1}, RUN> p{0}_runs[TURNS];\n#pragma unroll\n  for (int t = 0; t < TURNS; ++t)\n"
          "    if (at(t) < EXTENT) p{0}_runs[t] = load_run<RUN>(p{0} + at(t));\n",
          i, type);
    }
    return fmt::format("(float)p{}_runs[t].v[j]", i);
  };
  int place = 0;  // among the inputs that are there
  for (size_t i = 1; i < 3; ++i)
    if (has(problem, i)) text.result += fmt::format("      norm {} {};\n", i == 1 ? "*=" : "+=", element(++place));
  std::vector<std::string> inputs;
  inputs.reserve(operands.size());
  for (const int input : operands) inputs.push_back(input < 0 ? "norm" : element(input));
  if (after) text.result += cuda::statements(*after, inputs);
  text.result += fmt::format("      results[j] = {};\n", after ? fmt::format("v{}", after->code.size() - 1) : "norm");
  return text;
}

Result<cuda::Source> norm_warp_source(const Problem& given) {
  const Problem problem = cuda::view_after(given).plain;
  const NormText text = norm_text(given);
  const DType type = given.outputs[0].dtype;
  const bool real = cuda::is_held_in_float(type);
  const LayerNorm& op = *problem.op.as<LayerNorm>();
  const Rows rows = norm_rows(problem);
  return cuda::Source{kernels::block_cuh + fmt::format(R"cuda(
#define EXTENT {0}
#define ROWS {1}
#define RUN {2}
#define TURNS ((EXTENT / RUN + 31) / 32)
typedef {3} T;
extern "C" __global__ void __launch_bounds__({4}) kernel({10}* __restrict__ y, const T* __restrict__ x{5}) {{
  const int row = blockIdx.x * ({4} / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  const i64 base = (i64)row * EXTENT;
  const auto at = [&](int t) {{ return (t * 32 + lane) * RUN; }};
{12}  begin();
  if (row >= ROWS) return;
  float values[TURNS][RUN], mean = 0, square = 0;
#pragma unroll
  for (int t = 0; t < TURNS; ++t) {{
    if (at(t) >= EXTENT) continue;
    const auto run = load_run<RUN>(x + base + at(t));
#pragma unroll
    for (int j = 0; j < RUN; ++j) mean += values[t][j] = run.v[j];
  }}
  mean = {6};
#pragma unroll
  for (int t = 0; t < TURNS; ++t)
#pragma unroll
    for (int j = 0; j < RUN; ++j)
      if (at(t) < EXTENT) square += (values[t][j] - mean) * (values[t][j] - mean);
  const float scale = 1 / sqrtf(reduce_warp<combine_sum>(square) / EXTENT + {7});
{8}#pragma unroll
  for (int t = 0; t < TURNS; ++t) {{
    if (at(t) >= EXTENT) continue;
    {11} results[RUN];
#pragma unroll
    for (int j = 0; j < RUN; ++j) {{
      float norm = (values[t][j] - mean) * scale;
{9}    }}
    store_run(y + base + at(t), results);
  }}
}}
)cuda",
                                                       rows.extent, rows.outer * rows.inner,
                                                       cuda::run_of(problem.inputs[0].dtype, rows.extent),
                                                       type_of(problem), 32 * kNormWarps, text.parameters,
                                                       op.rms ? "0" : "reduce_warp<combine_sum>(mean) / EXTENT",
                                                       cuda::float_literal(op.epsilon), text.loads, text.result,
                                                       cuda::element_type(type), real ? "float" : "i64", text.ahead)};
}

cuda::Launch norm_warp_launch(const Problem& given) {
  const Problem problem = cuda::view_after(given).plain;
  const Rows rows = norm_rows(problem);
  return {{static_cast<unsigned>((rows.outer * rows.inner + kNormWarps - 1) / kNormWarps)}, {32 * kNormWarps}};
}

struct ReduceKind {
  std::string_view name;
  const char *combine, *start, *term, *result;
};

constexpr std::string_view kLogSumExp = "log_sum_exp";

constexpr ReduceKind kReduceKinds[] = {{"sum", "combine_sum", "0", "v", "acc"},
                                       {"mean", "combine_sum", "0", "v", "acc / EXTENT"},
                                       {"max", "combine_max", "-INF", "v", "acc"},
                                       {"min", "combine_min", "INF", "v", "acc"},
                                       {"prod", "combine_prod", "1", "v", "acc"},
                                       {"sum_square", "combine_sum", "0", "v * v", "acc"},
                                       {"l1", "combine_sum", "0", "fabsf(v)", "acc"},
                                       {"l2", "combine_sum", "0", "v * v", "sqrtf(acc)"},
                                       {"log_sum", "combine_sum", "0", "v", "logf(acc)"},
                                       {kLogSumExp, "combine_sum", "0", "expf(v - peak)", "logf(acc) + peak"}};

const ReduceKind* find_kind(std::string_view name) {
  const auto* found = std::find_if(std::begin(kReduceKinds), std::end(kReduceKinds),
                                   [&](const ReduceKind& k) { return k.name == name; });
  return found == std::end(kReduceKinds) ? nullptr : found;
}

std::string reduce_supports(const Problem& problem) {
  const auto* op = problem.op.as<Reduce>();
  if (op == nullptr) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  if (find_kind(op->kind) == nullptr) return fmt::format("reduction '{}'", op->kind);
  if (has(problem, 1) && !problem.constants.empty() && !problem.is_constant(1)) return "axes are not constant";
  return refuse_rows({element_count(dims_of(problem.outputs[0])), cuda::reduced_count(problem), 1});
}

Result<cuda::Source> reduce_source(const Problem& problem) {
  HONE_TRY(const cuda::ReducedDims dims, cuda::reduced_dims(problem));
  const ReduceKind& kind = *find_kind(problem.op.as<Reduce>()->kind);
  const std::string element = fmt::format("x[base + {}]", cuda::strided_index(dims.gone, dims.gone_strides, 0, "i"));
  // The largest exponent is taken out, so that none overflows.
  const std::string peak = kind.name != kLogSumExp
                               ? ""
                               : fmt::format(
                                     "  float peak = -INF;\n"
                                     "  for (i64 i = threadIdx.x; i < EXTENT; i += {}) peak = most(peak, {});\n"
                                     "  peak = reduce_block<combine_max>(peak, -INF);\n"
                                     "  if (isinf(peak)) peak = 0;\n",
                                     kThreads, element);
  return cuda::Source{
      .text = kernels::block_cuh + fmt::format(R"cuda(
#define EXTENT {}
typedef {} T;
extern "C" __global__ void kernel(T* y, const T* x) {{
  begin();
  const i64 row = blockIdx.x, base = {};
{}  float acc = {};
  for (i64 i = threadIdx.x; i < EXTENT; i += {}) {{
    const float v = {};
    acc = {}(acc, {});
  }}
  acc = reduce_block<{}>(acc, {});
  if (threadIdx.x == 0) y[row] = (T)({});
}}
)cuda",
                                               cuda::reduced_count(problem), type_of(problem),
                                               cuda::strided_index(dims.kept, dims.kept_strides, 0, "row"), peak,
                                               kind.start, kThreads, element, kind.combine, kind.term, kind.combine,
                                               kind.start, kind.result),
      .drops = {false, true}};
}

cuda::Launch reduce_launch(const Problem& problem) {
  return launch_rows({element_count(dims_of(problem.outputs[0])), 1, 1});
}

// When the reduced dims are neighbours with others behind them: see kernels/cuda/reduce_columns.cuh.
int column_run(const Problem& problem) {
  return cuda::run_of(problem.inputs[0].dtype, dims_of(problem.inputs[0]).back());
}

std::string columns_supports(const Problem& problem) {
  if (std::string reason = reduce_supports(problem); !reason.empty()) return reason;
  if (problem.op.as<Reduce>()->kind == kLogSumExp) return "two passes";
  if (problem.constants.empty()) return {};  // it was checked when the engine was built
  const auto rank = problem.inputs[0].shape.rank();
  const auto axes = has(problem, 1) ? normalize_axes(problem.constants[1].to_ints(), rank) : std::vector<int64_t>{};
  if (!axes.ok() || axes->empty()) return "all dims are reduced";
  const std::set<int64_t> distinct(axes->begin(), axes->end());
  if (*distinct.rbegin() == rank - 1) return "the last dim is reduced";
  return *distinct.rbegin() - *distinct.begin() + 1 == static_cast<int64_t>(distinct.size())
             ? ""
             : "dims between the reduced ones are kept";
}

// What a block takes: runs of neighbouring columns, and of the rows one part of `split`.
struct Columns {
  int64_t lanes, split, threads;
};

int64_t column_runs(const Problem& problem) { return element_count(dims_of(problem.outputs[0])) / column_run(problem); }

// A block has as many columns as still leave blocks for most of a GPU, and threads enough to ask for all rows at once,
// or nearly. Whether blocks that share rows pay depends on how many there are. Those that share none come first.
std::vector<Columns> column_candidates(const Problem& problem) {
  constexpr int64_t kRowsAThread = 8;
  const int64_t runs = column_runs(problem), run = column_run(problem), extent = cuda::reduced_count(problem);
  std::vector<Columns> all;
  for (const int64_t split : {1, 2, 4, 8}) {
    int64_t lanes = 32;
    if (split > 1 && (extent < 64 * split || cuda::blocks(runs, lanes) * split > 4 * cuda::kMultiprocessors)) break;
    const int64_t least_lanes = std::max<int64_t>(2, 16 / run),
                  least_blocks = cuda::kMultiprocessors * (split > 1 ? 3 : 2) / 4;
    while (lanes > least_lanes && cuda::blocks(runs, lanes) * split < least_blocks) lanes /= 2;
    const auto threads = static_cast<uint64_t>(cuda::blocks(extent, split * kRowsAThread) * lanes);
    all.push_back(
        {lanes, split,
         std::clamp<int64_t>(static_cast<int64_t>(std::bit_ceil(threads)), std::max<int64_t>(64, lanes * run), 1024)});
  }
  return all;
}

int columns_variants(const Problem& problem, const Machine& machine) {
  return cuda::has_clusters(machine.cuda_arch) ? static_cast<int>(column_candidates(problem).size()) : 1;
}

Result<cuda::Source> columns_source(const Problem& problem, int variant) {
  const Dims x = dims_of(problem.inputs[0]);
  HONE_TRY(const auto axes, normalize_axes(problem.constants[1].to_ints(), static_cast<int64_t>(x.size())));
  const ReduceKind& kind = *find_kind(problem.op.as<Reduce>()->kind);
  const Columns share = column_candidates(problem)[static_cast<size_t>(variant)];
  return cuda::Source{
      .text =
          kernels::block_cuh +
          fmt::format("#define EXTENT {}\n#define INNER {}\n#define RUN {}\n#define LANES {}\n#define SPLIT {}\n"
                      "#define THREADS {}\n"
                      "#define COUNT {}\n#define START {}\n#define COMBINE {}\n#define TERM(v) ({})\n"
                      "#define FINISH(acc) ({})\ntypedef {} T;\n",
                      cuda::reduced_count(problem),
                      span_count(x, *std::max_element(axes.begin(), axes.end()) + 1, static_cast<int64_t>(x.size())),
                      column_run(problem), share.lanes, share.split, share.threads,
                      element_count(dims_of(problem.outputs[0])), kind.start, kind.combine, kind.term, kind.result,
                      type_of(problem)) +
          kernels::reduce_columns_cuh,
      .drops = {false, true}};
}

cuda::Launch columns_launch(const Problem& problem, int variant) {
  const Columns share = column_candidates(problem)[static_cast<size_t>(variant)];
  return {.grid = {static_cast<unsigned>(cuda::blocks(column_runs(problem), share.lanes) * share.split)},
          .block = {static_cast<unsigned>(share.threads)},
          .cluster = static_cast<unsigned>(share.split)};
}

}  // namespace

std::span<const Tactic> cuda_rows_tactics() {
  static constexpr Tactic kRows[] = {
      cuda::row<softmax_supports, softmax_source, softmax_launch>("cuda.softmax"),
      cuda::row<norm_warp_supports, norm_warp_source, norm_warp_launch>("cuda.layer_norm_warp"),
      cuda::row<norm_supports, norm_source, norm_launch>("cuda.layer_norm", 1),
      cuda::row<columns_supports, columns_source, columns_launch, columns_variants>("cuda.reduce_columns"),
      cuda::row<reduce_supports, reduce_source, reduce_launch>("cuda.reduce", 1)};
  return kRows;
}

}  // namespace hone
