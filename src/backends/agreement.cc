#include "backends/agreement.h"

#include <algorithm>
#include <climits>
#include <cmath>

#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/fused.h"
#include "ops/matmul.h"
#include "ops/matmul_nbits.h"

namespace hone {
namespace {

bool is_product(const Op& op) {
  if (const auto* fused = op.as<Fused>())
    return std::ranges::any_of(fused->body->order(), [&](NodeId id) { return is_product(fused->body->node(id).op); });
  return op.as<Conv>() != nullptr || op.as<MatMul>() != nullptr || op.as<MatMulNBits>() != nullptr ||
         op.as<Attention>() != nullptr;
}

// In units of the result, and of the root mean square of all. Half a unit of the type is lost by each of two kernels.
// Sums of k terms in fp32 differ by some sqrt(k) 2^-24 of their root mean square: 2^-17 for k = 16384. TF32 loses up to
// 2^-10 of a factor, all of it one way where it is cut off: 2^-9 of a product; sums of 128 products of e4m3 lose some
// 2^-12. What a kernel gets wrong is as large as the result; a factor of 8 stands between, and of 2 in results of e4m3,
// whose neighbours are 2^-3 apart.
double unit_of(const Problem& problem, const Machine& machine) {
  const DType type = problem.inputs[0].dtype, result = problem.outputs[0].dtype;
  if (result == DType::f8e4m3fn) return 0x1p-2;
  const double rounding = result == DType::f16 ? 0x1p-10 : result == DType::bf16 ? 0x1p-7 : 0x1p-23;
  const double factors = machine.tf32 && type == DType::f32 ? 0x1p-9 : type == DType::bf16 ? 0x1p-8 : 0x1p-11;
  const bool exact = type == DType::f32 && !machine.tf32;
  return 8 * std::max(rounding, exact ? 0x1p-17 : factors);
}

}  // namespace

const Tactic* witness_of(const Problem& problem, const Machine& machine) {
  if (!is_product(problem.op) || !problem.is_static()) return nullptr;
  const Tactic* plainest = nullptr;
  int first = INT_MAX;
  for (const Tactic& tactic : tactic_table()) {
    if (tactic.backend != Backend::cuda || tactic.tier == kBesideAll || !tactic.supports(problem, machine).empty())
      continue;
    first = std::min(first, tactic.tier);
    if (plainest == nullptr || tactic.tier > plainest->tier) plainest = &tactic;
  }
  return plainest != nullptr && plainest->tier > first ? plainest : nullptr;
}

Status agree(const Problem& problem, const Machine& machine, const Tensor& want, const Tensor& got) {
  const std::vector<double> wanted = want.to_doubles(), made = got.to_doubles();
  double squares = 0;
  int64_t finite = 0;
  for (const double v : wanted) {
    if (!std::isfinite(v)) continue;
    squares += v * v;
    ++finite;
  }
  const double typical = finite > 0 ? std::sqrt(squares / static_cast<double>(finite)) : 0;
  const bool integers = is_integer(problem.outputs[0].dtype);
  // Integers of integers are the same; those of floats may be rounded to either side.
  const bool exact = integers && is_integer(problem.inputs[0].dtype);
  const double fixed = integers && !exact ? 1 : 0;
  const double unit = exact ? 0 : unit_of(problem, machine);
  for (size_t i = 0; i < wanted.size(); ++i) {
    const double w = wanted[i], g = made[i];
    if ((std::isnan(w) && std::isnan(g)) || w == g) continue;
    if (!(std::fabs(g - w) <= unit * (std::fabs(w) + typical) + fixed))
      return Status(Code::device, fmt::format("its results are wrong: one is {} where a plain kernel has {}", g, w));
  }
  return {};
}

}  // namespace hone
