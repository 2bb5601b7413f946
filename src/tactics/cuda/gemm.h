#pragma once

#include "tactics/cuda/kernel.h"

namespace hone::cuda {

// The portable matrix product (kernels/cuda/gemm.cuh) with loads and stores of a family's own.
struct Gemm {
  int64_t m = 1, n = 1, k = 1, batch = 1;
};

// Why it cannot do it, or empty.
std::string refuse_gemm(const Gemm& gemm);

// `parameters` as declared and `arguments` as passed on; `functions` defines Row, row_of, load_a, load_b and store.
std::string gemm_source(const Gemm& gemm, const std::string& parameters, const std::string& functions);
Launch gemm_launch(const Gemm& gemm);

// The same on tensor cores in TF32 (kernels/cuda/mma_tf32.cuh). A variant is a tile size.
int mma_variants(const Machine& machine);
std::string refuse_mma(const Gemm& gemm);
// `functions` defines Row, row_of, a_at, b_at and store. `b_rounded`: B holds TF32 values.
std::string mma_source(const Gemm& gemm, int variant, bool b_rounded, const std::string& parameters, const std::string& functions);
Launch mma_launch(const Gemm& gemm, int variant);

// `value` as the nearest TF32 number, away from zero on a tie.
float round_to_tf32(float value);

}  // namespace hone::cuda
