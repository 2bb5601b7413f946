#pragma once

#include <array>
#include <compare>
#include <vector>

#include "cuda/device.h"
#include "cuda/library.h"

// NVIDIA's library of matrix products, opened when it is needed. Names and values are those of its reference.
namespace hone::cuda {

// Of the library that is here, or why there is none. It needs no GPU.
Result<LibraryVersion> cublaslt_version();

// y = activation(a b + residual + bias) with a [batch][m][k], b [batch][k][n], y and residual [batch][m][n] and bias
// [n]; an operand that is transposed has its last two dims the other way round.
struct LibraryProduct {
  enum class Activation : uint32_t { none = 1, relu = 2, gelu_tanh = 32 };

  DType type = DType::f32, result = DType::f32;  // of the operands; of y, the residual and the bias
  bool tf32 = false;                             // else f32 operands are multiplied in f32
  int64_t m = 1, n = 1, k = 1, batch = 1;
  bool trans_a = false, trans_b = false;
  bool a_batched = true, b_batched = true;  // else one for the whole batch
  bool has_bias = false;
  Activation activation = Activation::none;

  auto operator<=>(const LibraryProduct&) const = default;  // NOLINT(modernize-use-nullptr): its own 0
};

// A matrix as the library sees it: elements (row, column) of entry z lie at z * batch_stride + column * ld + row.
struct LibraryMatrix {
  DType type = DType::f32;
  int64_t rows = 1, columns = 1, ld = 1, batch = 1, batch_stride = 0;
  bool transposed = false;  // before it is multiplied
};

// The library's columns are our rows: what it is asked for is the transposed product, `y` = `left` `right`, where
// `left` is b and `right` is a.
struct LibraryMatrices {
  LibraryMatrix left, right, y;
};
LibraryMatrices matrices_of(const LibraryProduct& product);

// One of the library's ways to compute a product on a GPU; it means something to the version that gave it alone.
struct LibraryAlgorithm {
  std::array<uint64_t, 8> words = {};
  int64_t workspace_bytes = 0;
};

inline constexpr int64_t kMostLibraryWorkspace = 32 << 20;

// Best guess first; none of them adds up in an order that changes from run to run, or in less than f32. They are asked
// for once in a process.
Result<std::vector<LibraryAlgorithm>> cublaslt_algorithms(const LibraryProduct& product, int ordinal);
// "algorithm 66, tile 20, stages 36, cluster 3, split 1", in the library's numbers.
Result<std::string> describe(const LibraryAlgorithm& algorithm);

struct LibraryOperands {
  const void *a = nullptr, *b = nullptr, *bias = nullptr, *residual = nullptr;  // residual: null when there is none
  void* y = nullptr;
  void* workspace = nullptr;  // aligned to kLibraryAlign
};

// Launches on the GPU that is current, which is `ordinal`. Code::unsupported: the library refuses the algorithm.
Status cublaslt_launch(const LibraryProduct& product, const LibraryAlgorithm& algorithm,
                       const LibraryOperands& operands, int ordinal, Stream& stream);

}  // namespace hone::cuda
