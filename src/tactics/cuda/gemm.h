#pragma once

#include "tactics/cuda/kernel.h"

namespace hone::cuda {

// A matrix product with operands of one type: [batch][m][k] by [batch][k][n].
struct Gemm {
  int64_t m = 1, n = 1, k = 1, batch = 1;
  DType type = DType::f32;
};

// Sources are put together from `parameters` as declared, the family's `functions` and a skeleton. Each has a way to
// say why it cannot do a product, or empty.

// The portable product (kernels/cuda/gemm.cuh): `functions` defines Row, row_of, load_a, load_b and store.
std::string refuse_gemm(const Gemm& gemm);
std::string gemm_source(const Gemm& gemm, const std::string& parameters, const std::string& functions);
Launch gemm_launch(const Gemm& gemm);

// On tensor cores (kernels/cuda/mma.cuh), f32 in TF32; `functions` defines Row, row_of, a_at, b_at and store. A variant
// is a tile size.
struct Operands {
  bool b_rounded = false;  // B holds TF32 values
  bool gathered = false;   // element_a takes the place of a_at
};
std::string refuse_mma(const Gemm& gemm);
int mma_variants(const Problem& problem, const Machine& machine);
std::string mma_source(const Gemm& gemm, int variant, Operands operands, const std::string& parameters,
                       const std::string& functions);
Launch mma_launch(const Gemm& gemm, int variant);

// Of f32 without tensor cores (kernels/cuda/simt.cuh); `functions` as of mma.cuh. A variant is a tile size.
std::string refuse_simt(const Gemm& gemm);
int simt_variants(const Problem& problem, const Machine& machine);
std::string simt_source(const Gemm& gemm, int variant, const std::string& parameters, const std::string& functions);
Launch simt_launch(const Gemm& gemm, int variant);

// Whether the tensor cores of an architecture ("sm_90") multiply e4m3: of compute capability 8.9 on.
bool has_fp8(std::string_view arch);
// Why tensor cores may not be used for operands of a type, or empty: f32 needs leave to compute in TF32.
std::string refuse_tf32(DType type, const Machine& machine);
// `value` as the nearest TF32 number, away from zero on a tie.
float round_to_tf32(float value);
Tensor rounded_to_tf32(const Tensor& weights);
// `weights` with its dims in the order of `perm`.
Tensor permuted(const Tensor& weights, const std::vector<int64_t>& perm);
// The same for tensor cores: f32 is rounded to TF32.
Tensor permuted_for_tensor_cores(const Tensor& weights, const std::vector<int64_t>& perm);

// The rows of a product as a kernel's last parameter: the launch's one extent. They depend on the batch, so that they
// are no constant where they only bound something.
inline constexpr const char* kRows = ", int M";
// PARAMETERS and ARGUMENTS, for functions that are given what the kernel is.
std::string define_parameters(const std::string& parameters);
// "const float* x, float* y": the last word of each is its name.
std::string arguments_of(const std::string& parameters);
int64_t blocks(int64_t size, int64_t tile);

}  // namespace hone::cuda
