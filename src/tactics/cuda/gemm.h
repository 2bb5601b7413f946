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

}  // namespace hone::cuda
