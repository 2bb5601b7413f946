#pragma once

#include "kernels/cpu/gemm/gemm.h"
#include "ops/matmul.h"
#include "tactics/common.h"

namespace hone {

// The product as a strided batch of row-major GEMMs.
struct MatMulLayout {
  cpu::GemmProblem gemm;
  int64_t ldb = 0;
  bool trans_b = false;
  std::string refused;
};

inline MatMulLayout matmul_layout(const Problem& problem, const MatMul& op) {
  const auto refuse = [](std::string reason) { return MatMulLayout{.refused = std::move(reason)}; };
  const Dims a = dims_of(problem.inputs[0]), b = dims_of(problem.inputs[1]);
  if (a.size() < 2 || b.size() < 2) return refuse("an operand is a vector");
  if (op.trans_a) return refuse("the left operand is transposed");
  const Dims batch_a(a.begin(), a.end() - 2), batch_b(b.begin(), b.end() - 2);
  const int64_t count_a = element_count(batch_a), count_b = element_count(batch_b);
  MatMulLayout l;
  l.trans_b = op.trans_b;
  l.gemm.m = a[a.size() - 2];
  l.gemm.k = a.back();
  l.gemm.n = op.trans_b ? b[b.size() - 2] : b.back();
  l.ldb = b.back();
  if (l.gemm.m == 0 || l.gemm.n == 0 || l.gemm.k == 0 || count_a == 0 || count_b == 0) return refuse("empty");
  if (count_b == 1) {
    l.gemm.m *= count_a;  // one B for all rows
    return l;
  }
  if (batch_a != batch_b) return refuse("batch dims differ");
  l.gemm.batch = count_a;
  l.gemm.stride_a = l.gemm.m * l.gemm.k;
  l.gemm.stride_b = l.gemm.k * l.gemm.n;
  l.gemm.stride_c = l.gemm.m * l.gemm.n;
  return l;
}

}  // namespace hone
