// C = A * W^T for a few rows of A, by weights of BITS (4 or 8) that are unpacked in registers. A warp computes RUN
// neighbouring columns of ROWS rows; sums are in fp32.
//
// Around it the source defines M, N, K, ROWS, RUN, WARPS, BITS, BLOCK (weights that share a scale, along k; a multiple
// of 8), BLOCKS (in a row), CENTRED (each zero point is 2^(BITS - 1) and not read), PARAMETERS, ARGUMENTS, and `void
// store(parameters, i64 z, int m, int n, const float (&)[RUN])`. Among the parameters are `a`, [M][K], whose rows are a
// multiple of 8 elements; `codes`, [N][CHUNKS][32] pieces of 16 bytes; `scales` and `zeros`, [N][BLOCKS].
//
// Piece `lane` of a chunk holds GROUPS times 8 codes, the first in the lowest bits: of k = 256 * group + 8 * lane and
// following, so that neighbouring lanes read neighbouring values of A.
#define GROUPS (16 / BITS)
#define CHUNK (256 * GROUPS)
#define CHUNKS ((K + CHUNK - 1) / CHUNK)

// A code as a float, less `zero`: it takes the lowest bits of a float that is large enough for them to stand for 1.
__device__ inline float value_of(const unsigned (&words)[4], int group, int j, float zero) {
  const unsigned bits = BITS == 4 ? 0x4b000000 | (words[group] >> 4 * j & 15)
                                  : __byte_perm(words[(2 * group + j / 4) % 4], 0x4b000000, 0x7440 | j % 4);
  return CENTRED ? __uint_as_float(bits) - (8388608.0f + (1 << (BITS - 1)))
                 : __uint_as_float(bits) - 8388608.0f - zero;
}

extern "C" __global__ void __launch_bounds__(32 * WARPS) kernel(PARAMETERS) {
  begin();
  const int lane = threadIdx.x % 32, n0 = (blockIdx.x * WARPS + threadIdx.x / 32) * RUN, m0 = blockIdx.y * ROWS;
  if (n0 >= N) return;
  float sums[ROWS][RUN] = {};
#pragma unroll 2
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    unsigned words[RUN][4];
#pragma unroll
    for (int c = 0; c < RUN; ++c) {
      const auto piece = load_run<4>((const unsigned*)codes + (((i64)(n0 + c) * CHUNKS + chunk) * 32 + lane) * 4);
#pragma unroll
      for (int i = 0; i < 4; ++i) words[c][i] = piece.v[i];
    }
#pragma unroll
    for (int group = 0; group < GROUPS; ++group) {
      const int k = chunk * CHUNK + group * 256 + lane * 8;
      if (k >= K) continue;
      float weights[RUN][8], scale[RUN];
#pragma unroll
      for (int c = 0; c < RUN; ++c) {
        const i64 at = (i64)(n0 + c) * BLOCKS + k / BLOCK;
        const float zero = CENTRED ? 0.0f : zeros[at];
        scale[c] = scales[at];
#pragma unroll
        for (int j = 0; j < 8; ++j) weights[c][j] = value_of(words[c], group, j, zero);
      }
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const int m = m0 + r < M ? m0 + r : M - 1;
        const auto values = load_run<8>(a + (i64)m * K + k);
        float sum[RUN] = {};
#pragma unroll
        for (int j = 0; j < 8; ++j)
#pragma unroll
          for (int c = 0; c < RUN; ++c) sum[c] += (float)values.v[j] * weights[c][j];
#pragma unroll
        for (int c = 0; c < RUN; ++c) sums[r][c] += sum[c] * scale[c];
      }
    }
  }
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
#pragma unroll
    for (int c = 0; c < RUN; ++c)
#pragma unroll
      for (int step = 16; step > 0; step /= 2) sums[r][c] += __shfl_xor_sync(0xffffffff, sums[r][c], step);
    if (lane == r && m0 + r < M) store(ARGUMENTS, 0, m0 + r, n0, sums[r]);
  }
}
