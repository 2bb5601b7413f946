#pragma once

#include "tactics/cuda/gemm.h"

// Matrix products and convolutions on the tensor cores of compute capability 9.0 (kernels/cuda/wgmma.cuh).
namespace hone::cuda {

// A of the product, as the patches of an image that is [n][h][w][channels].
struct Patches {
  int64_t n, h, w, channels, oh, ow, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  // Elements from one to the next; 0 when they lie one behind the other.
  int64_t pixel_pitch = 0, row_pitch = 0, image_pitch = 0;
};

struct WarpgroupProduct {
  Gemm gemm;                       // k counts all taps
  std::optional<Patches> patches;  // else A is [batch][m][k]
  bool b_constant = false;         // B is what wgmma_weights makes of [n][k], else [batch or 1][n][k]
  bool b_batched = false;
  DType result = DType::f32;  // what is stored
};

// Of a block on compute capability 9.0, and nearly all that a multiprocessor has.
inline constexpr int kMostSharedBytes = 227 * 1024;

// Where the operands are among the kernel's pointers.
struct OperandPlaces {
  size_t a = 1, b = 2;
};

// The instruction exists on no other GPU, older or newer.
std::string refuse_other_than_hopper(const Machine& machine);
std::string refuse_wgmma(const WarpgroupProduct& product, const Machine& machine);
// A variant is a tile size and how many blocks share a tile: those that may be the fastest for the sizes, best guess
// first.
int wgmma_variants(const WarpgroupProduct& product);
// `store`: see AnchorView.
Source wgmma_source(const WarpgroupProduct& product, int variant, const std::string& parameters,
                    const std::string& store);
// Neighbouring columns that a lane stores at once: 16 bytes of the result, or 8 of i8 (16 were 3% slower on an H100).
int wgmma_run(int64_t columns, DType result);
// Columns of a tile of n that warpgroup.cuh brings out at once.
int wgmma_staged(int n);
// Of k, that one instruction multiplies.
inline constexpr int64_t kBytesOfK = 32;
struct Multiplication {
  int64_t bytes = kBytesOfK;    // of k, one behind the other in a row of both operands
  bool a_in_registers = false;  // of one instruction
  bool b_by_rows = false;       // of 16-bit types: B lies [k][n]
};
// `void multiply(Sum (&)[n / 2], u64 a, u64 b, bool add)`: a product for a tile of 64 x n, of operands in shared
// memory, or with A in registers: `(Sum (&)[n / 2], unsigned a0, unsigned a1, unsigned a2, unsigned a3, u64 b, bool
// add)`. The sums need no value where the product is not added to them.
std::string wgmma_multiply(DType type, int n, const Multiplication& form);
// `void load_a(const TensorMap&, unsigned barrier, unsigned address, i64 z, int m0, int tap, int k)`: asks for a box of
// A, rows from m0 on of 64 bytes of k, if a tap has no more, or of 128; and its map.
std::string wgmma_load_a(const WarpgroupProduct& product);
TensorMapSpec wgmma_a_map(const WarpgroupProduct& product, int64_t rows);
// Weights [n][k] as [step of k][n][a row's elements]: a box is one piece of memory. Pieces of 128 bytes, kilobytes
// apart, come slower where they are not in the cache.
Tensor wgmma_weights(const WarpgroupProduct& product, const Tensor& weights);
Launch wgmma_launch(const WarpgroupProduct& product, int variant, const OperandPlaces& places);

}  // namespace hone::cuda
