// Reductions of integers and booleans, in 64 bits: a block a result.
#include "tactics/cuda/movable.h"
#include "tactics/cuda/reduced.h"

namespace hone {
namespace {

constexpr unsigned kThreads = 256;

struct Kind {
  std::string_view name;
  const char *start, *term, *combine, *result;
};

constexpr const char *kSum = "(i64)((u64)a + (u64)b)", *kProduct = "(i64)((u64)a * (u64)b)";

constexpr Kind kKinds[] = {{"sum", "0", "v", kSum, "acc"},
                           {"mean", "0", "v", kSum, "acc / EXTENT"},
                           {"max", "-0x7fffffffffffffffLL - 1", "v", "most(a, b)", "acc"},
                           {"min", "0x7fffffffffffffffLL", "v", "least(a, b)", "acc"},
                           {"prod", "1", "v", kProduct, "acc"},
                           {"sum_square", "0", "(i64)((u64)v * (u64)v)", kSum, "acc"},
                           {"l1", "0", "v < 0 ? -v : v", kSum, "acc"}};

const Kind* find_kind(std::string_view name) {
  const auto* found = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& k) { return k.name == name; });
  return found == std::end(kKinds) ? nullptr : found;
}

std::string supports(const Problem& problem) {
  const auto* op = problem.op.as<Reduce>();
  if (op == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  const DType type = problem.inputs[0].dtype;
  if (cuda::element_type(type) == nullptr || cuda::is_real_element(type)) return fmt::format("{} elements", name(type));
  if (find_kind(op->kind) == nullptr) return fmt::format("reduction '{}' of integers", op->kind);
  if (std::string reason = cuda::refuse_unless_constant(problem, 1); !reason.empty()) return reason;
  if (cuda::reduced_count(problem) == 0) return "empty";
  return element_count(dims_of(problem.outputs[0])) > INT32_MAX ? "more than 2^31 results" : "";
}

Result<cuda::Source> source(const Problem& problem) {
  HONE_TRY(const cuda::ReducedDims dims, cuda::reduced_dims(problem));
  const Kind& kind = *find_kind(problem.op.as<Reduce>()->kind);
  return cuda::Source{
      .text = fmt::format(R"cuda(
#define EXTENT {0}
#define THREADS {1}
typedef {2} T;
__device__ inline i64 combine(i64 a, i64 b) {{ return {3}; }}
extern "C" __global__ void kernel(T* y, const T* x) {{
  begin();
  __shared__ i64 partial[THREADS];
  const int thread = threadIdx.x;
  const i64 row = blockIdx.x, base = {4};
  i64 acc = {5};
  for (i64 i = thread; i < EXTENT; i += THREADS) {{
    const i64 v = x[base + {6}];
    acc = combine(acc, {7});
  }}
  partial[thread] = acc;
  for (int half = THREADS / 2; half > 0; half /= 2) {{
    __syncthreads();
    if (thread < half) partial[thread] = combine(partial[thread], partial[thread + half]);
  }}
  acc = partial[0];
  if (thread == 0) y[row] = (T)({8});
}}
)cuda",
                          cuda::reduced_count(problem), kThreads, cuda::element_type(problem.inputs[0].dtype),
                          kind.combine, cuda::strided_index(dims.kept, dims.kept_strides, 0, "row"), kind.start,
                          cuda::strided_index(dims.gone, dims.gone_strides, 0, "i"), kind.term, kind.result),
      .drops = {false, true}};
}

cuda::Launch launch(const Problem& problem) {
  return {{static_cast<unsigned>(element_count(dims_of(problem.outputs[0])))}, {kThreads}};
}

}  // namespace

std::span<const Tactic> cuda_reduce_integers_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch>("cuda.reduce_integers")};
  return kRows;
}

}  // namespace hone
