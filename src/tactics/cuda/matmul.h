#pragma once

#include "ops/matmul.h"
#include "tactics/cuda/epilogue.h"
#include "tactics/cuda/gemm.h"

// What the GPU's matrix products share.
namespace hone::cuda {

// Batches that one B is for are rows of one product.
struct MatmulLayout {
  Gemm gemm;
  Dims batch, batch_a, batch_b;
};

struct MatmulView {
  AnchorView anchor;
  MatMul op;
  MatmulLayout layout;
};

// Why no kernel can do it as a matrix product, or empty.
std::string matmul_refusal(const Problem& problem);
// Of a problem that matmul_refusal passes.
MatmulView matmul_view(const Problem& problem);

}  // namespace hone::cuda
