// Products by weights of 4 or 8 bits: of few rows with the weights unpacked in registers, of many with the weights
// unpacked into the workspace first, and of any sizes by a plain kernel.
#include "ops/matmul_nbits.h"

#include "base/counted.h"
#include "kernels/cuda/nbits_rows.cuh.h"
#include "ops/numbers.h"
#include "tactics/cuda/epilogue.h"
#include "tactics/cuda/source.h"
#include "tactics/cuda/wgmma.h"

namespace hone {
namespace {

constexpr int64_t kMostRows = 16, kRowsATime = 8;
constexpr int kWarps = 4;
constexpr int64_t kLane = 8, kLanes = 32;  // weights that a lane unpacks at once; lanes of a warp

struct View {
  cuda::AnchorView anchor;
  MatMulNBits op;
  cuda::Gemm gemm;

  int64_t blocks() const { return op.blocks(gemm.k); }
};

View view_of(const Problem& problem) {
  View view{*cuda::view_anchor(problem, MatMulNBits::kName), {}, {}};
  view.op = *view.anchor.op.as<MatMulNBits>();
  const Dims a = dims_of(problem.inputs[0]);
  view.gemm = {.m = element_count(a) / std::max<int64_t>(a.back(), 1),
               .n = dims_of(problem.inputs[1])[0],
               .k = a.back(),
               .type = problem.inputs[0].dtype};
  return view;
}

std::string supports(const Problem& problem) {
  const auto anchor = cuda::view_anchor(problem, MatMulNBits::kName);
  if (!anchor) return kAnotherOp;
  if (std::string reason = cuda::refuse_unless_fixed_real(problem); !reason.empty()) return reason;
  if (anchor->prologue) return "its input is computed in place";
  for (size_t i = 1; i < 4 && !problem.constants.empty(); ++i)
    if (!problem.is_constant(i)) return "weights are not constant";
  if (std::string reason = cuda::refuse_epilogue(problem); !reason.empty()) return reason;
  return cuda::refuse_gemm(view_of(problem).gemm);
}

// Whether 8 neighbouring weights share a scale and lie in whole bytes of memory that are read at once.
std::string supports_runs(const Problem& problem) {
  if (std::string reason = supports(problem); !reason.empty()) return reason;
  const View view = view_of(problem);
  return view.gemm.k % kLane != 0 || view.op.block % kLane != 0 ? "rows or blocks are not a multiple of 8 weights" : "";
}

// After the inputs: the packed constants, and the workspace where there is one.
std::string parameters_of(const Problem& problem, const View& view, bool workspace) {
  const char* type = cuda::element_type(view.gemm.type);
  return fmt::format(
      "{}* __restrict__ y, const {}* __restrict__ a{}, const unsigned char* __restrict__ codes, const float* "
      "__restrict__ scales, const float* __restrict__ zeros{}",
      cuda::element_type(problem.outputs[0].dtype), type, view.anchor.parameters,
      workspace ? fmt::format(", {}* __restrict__ workspace", type) : "");
}

Tensor in_floats(const Tensor& t) { return tensor_from(DType::f32, t.dims(), numbers_of<float>(t)); }

bool centred(const View& view, const Tensor& zeros) {
  for (int64_t i = 0; i < zeros.count(); ++i)
    if (zeros.at(i) != static_cast<double>(1 << (view.op.bits - 1))) return false;
  return true;
}

std::string defines(const View& view, const Tensor& zeros) {
  return fmt::format(
      "#define BITS {}\n#define BLOCK {}\n#define BLOCKS {}\n#define BLOCK_BYTES {}\n#define CENTRED {}\n",
      view.op.bits, view.op.block, view.blocks(), view.op.block_bytes(), centred(view, zeros) ? 1 : 0);
}

cuda::Source source_of(const Problem& problem, const View& view, std::string text, Tensor codes, bool arch_specific) {
  const Tensor& zeros = problem.constants[3];
  // Where they are not read, one stands for all.
  return {.text = std::move(text),
          .drops = {false, true, true, true},
          .packed = {std::move(codes), problem.constants[2],
                     centred(view, zeros) ? Tensor(DType::f32, {1}) : in_floats(zeros)},
          .arch_specific = arch_specific};
}

// The weight [n, k], of codes as they are in the graph.
constexpr const char* kWeight = R"cuda(
__device__ inline float weight_of(PARAMETERS, int n, int k) {
  const i64 at = (i64)n * BLOCKS + k / BLOCK;
  const int place = k % BLOCK;
  const unsigned byte = codes[at * BLOCK_BYTES + place / (8 / BITS)];
  const float code = BITS == 8 ? byte : byte >> 4 * (place & 1) & 15, zero = CENTRED ? 1 << (BITS - 1) : zeros[at];
  return (code - zero) * scales[at];
}
)cuda";

Result<cuda::Source> source(const Problem& problem) {
  const View view = view_of(problem);
  const std::string functions = defines(view, problem.constants[3]) + kWeight + R"cuda(
struct Row { i64 at; };
__device__ inline Row row_of(PARAMETERS, i64, int m) { return Row{m < M ? (i64)m * K : -1}; }
__device__ inline Sum load_a(PARAMETERS, Row row, int k) { return row.at < 0 ? Sum(0) : (Sum)a[row.at + k]; }
__device__ inline Sum load_b(PARAMETERS, i64, int k, int n) { return weight_of(ARGUMENTS, n, k); }
)cuda" + view.anchor.store;
  return source_of(problem, view, cuda::gemm_source(view.gemm, parameters_of(problem, view, false), functions),
                   problem.constants[1], false);
}

cuda::Launch launch(const Problem& problem) { return cuda::gemm_launch(view_of(problem).gemm); }

std::string supports_rows(const Problem& problem) {
  if (std::string reason = supports_runs(problem); !reason.empty()) return reason;
  const int64_t m = view_of(problem).gemm.m;
  return m > kMostRows ? fmt::format("{} are more than {}", counted(m, "row"), kMostRows) : "";
}

// A variant is how many columns a warp computes: 4, 2 or 1, which divide all.
int columns_of(const cuda::Gemm& gemm, int variant) {
  const int most = gemm.n % 4 == 0 ? 4 : gemm.n % 2 == 0 ? 2 : 1;
  return most >> variant;
}

int rows_variants(const Problem& problem, const Machine&) {
  int count = 0;
  for (const cuda::Gemm gemm = view_of(problem).gemm; columns_of(gemm, count) > 0;) ++count;
  return count;
}

// As nbits_rows.cuh says.
Tensor codes_for_lanes(const View& view, const Tensor& codes) {
  const int64_t groups = 16 / view.op.bits, chunk = kLanes * kLane * groups, chunks = cuda::blocks(view.gemm.k, chunk);
  Tensor packed(DType::u8, {view.gemm.n, chunks, kLanes, 16});
  auto* to = packed.mutable_data<uint8_t>();
  const MatMulNBits piece{.bits = view.op.bits, .block = groups * kLane};
  for (int64_t n = 0; n < view.gemm.n; ++n)
    for (int64_t k = 0; k < view.gemm.k; ++k) {
      const int64_t in_chunk = k % chunk, group = in_chunk / (kLanes * kLane), lane = in_chunk / kLane % kLanes;
      piece.set_code(to, 1, (n * chunks + k / chunk) * kLanes + lane, group * kLane + k % kLane,
                     view.op.code(codes.data<uint8_t>(), view.blocks(), n, k));
    }
  return packed;
}

int64_t rows_a_time(const cuda::Gemm& gemm) { return cuda::blocks(gemm.m, cuda::blocks(gemm.m, kRowsATime)); }

Result<cuda::Source> rows_source(const Problem& problem, int variant) {
  const View view = view_of(problem);
  const std::string parameters = parameters_of(problem, view, false);
  const std::string text =
      fmt::format(
          "typedef float Sum;\n#define M {}\n#define N {}\n#define K {}\n#define PARAMETERS {}\n#define ARGUMENTS "
          "{}\n#define RUN {}\n#define ROWS {}\n#define WARPS {}\n",
          view.gemm.m, view.gemm.n, view.gemm.k, parameters, cuda::arguments_of(parameters),
          columns_of(view.gemm, variant), rows_a_time(view.gemm), kWarps) +
      defines(view, problem.constants[3]) + view.anchor.store + kernels::nbits_rows_cuh;
  return source_of(problem, view, text, codes_for_lanes(view, problem.constants[1]), false);
}

cuda::Launch rows_launch(const Problem& problem, int variant) {
  const cuda::Gemm gemm = view_of(problem).gemm;
  return {{static_cast<unsigned>(cuda::blocks(gemm.n, int64_t{kWarps} * columns_of(gemm, variant))),
           static_cast<unsigned>(cuda::blocks(gemm.m, rows_a_time(gemm)))},
          {kLanes * kWarps}};
}

// The kernel `before`: all weights as A's type, [N][K], to the workspace, 8 a thread.
constexpr const char* kUnpack = R"cuda(
extern "C" __global__ void before(PARAMETERS) {
  begin();
  const i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (i >= (i64)N * K) return;
  const int n = (int)(i / K), k = (int)(i % K);
  float weights[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) weights[j] = weight_of(ARGUMENTS, n, k + j);
  store_run(workspace + i, weights);
}
)cuda";

cuda::Launch unpacked_first(cuda::Launch launch, const cuda::Gemm& gemm) {
  const cuda::Launch before = cuda::elementwise(gemm.n * gemm.k / kLane);
  launch.before = cuda::Stream::Shape{before.grid, before.block};
  launch.workspace_bytes = gemm.n * gemm.k * static_cast<int64_t>(size_of(gemm.type));
  return launch;
}

std::string supports_tensor_cores(const Problem& problem, const Machine& machine) {
  if (std::string reason = supports_runs(problem); !reason.empty()) return reason;
  return cuda::refuse_tf32(problem.inputs[0].dtype, machine);
}

std::string supports_mma(const Problem& problem, const Machine& machine) {
  if (std::string reason = supports_tensor_cores(problem, machine); !reason.empty()) return reason;
  return cuda::refuse_mma(view_of(problem).gemm);
}

Result<cuda::Source> mma_source(const Problem& problem, int variant) {
  const View view = view_of(problem);
  const std::string functions = defines(view, problem.constants[3]) + kWeight + kUnpack + R"cuda(
struct Row { i64 at; };
__device__ inline Row row_of(PARAMETERS, i64, int m) { return Row{m < M ? (i64)m * K : -1}; }
__device__ inline const A* a_at(PARAMETERS, Row row, int k) { return row.at < 0 ? nullptr : a + row.at + k; }
__device__ inline const A* b_at(PARAMETERS, i64, int n, int k) { return workspace + (i64)n * K + k; }
)cuda" + view.anchor.store;
  return source_of(problem, view,
                   cuda::mma_source(view.gemm, variant, {}, parameters_of(problem, view, true), functions),
                   problem.constants[1], false);
}

cuda::Launch mma_launch(const Problem& problem, int variant) {
  const cuda::Gemm gemm = view_of(problem).gemm;
  return unpacked_first(cuda::mma_launch(gemm, variant), gemm);
}

// Its B is not constant: it is there when the kernel before is done.
cuda::WarpgroupProduct product_of(const Problem& problem) {
  return {.gemm = view_of(problem).gemm, .result = problem.outputs[0].dtype};
}

std::string supports_wgmma(const Problem& problem, const Machine& machine) {
  if (std::string reason = supports_tensor_cores(problem, machine); !reason.empty()) return reason;
  return cuda::refuse_wgmma(product_of(problem), machine);
}

int wgmma_variants(const Problem& problem, const Machine&) { return cuda::wgmma_variants(product_of(problem)); }

Result<cuda::Source> wgmma_source(const Problem& problem, int variant) {
  const View view = view_of(problem);
  const cuda::Source product =
      cuda::wgmma_source(product_of(problem), variant, parameters_of(problem, view, true),
                         view.anchor.store + "#define K (TAPS * TAP_K)\n" + defines(view, problem.constants[3]) +
                             kWeight + kUnpack + "#undef K\n");
  return source_of(problem, view, product.text, problem.constants[1], product.arch_specific);
}

cuda::Launch wgmma_launch(const Problem& problem, int variant) {
  const cuda::WarpgroupProduct product = product_of(problem);
  // Behind y, the inputs that are read, and as many packed constants as inputs that are not.
  const size_t workspace = 1 + count_present(problem.inputs);
  return unpacked_first(cuda::wgmma_launch(product, variant, {.a = 1, .b = workspace}), product.gemm);
}

}  // namespace

std::span<const Tactic> cuda_matmul_nbits_tactics() {
  static constexpr Tactic kRows[] = {
      cuda::row<supports_rows, rows_source, rows_launch, rows_variants>("cuda.matmul_nbits_rows", kBesideAll),
      cuda::row<supports_wgmma, wgmma_source, wgmma_launch, wgmma_variants>("cuda.matmul_nbits_wgmma"),
      cuda::row<supports_mma, mma_source, mma_launch, cuda::mma_variants>("cuda.matmul_nbits_mma", 1),
      cuda::row<supports, source, launch>("cuda.matmul_nbits", 2)};
  return kRows;
}

}  // namespace hone
