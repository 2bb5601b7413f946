// C = A * B on tensor cores: TF32 operands (10 bits of mantissa), fp32 sums. WARPS_M x WARPS_N warps share a tile of
// TILE_M x TILE_N; STAGES tiles of TILE_K are on their way through shared memory at once.
//
// Around it the source defines M, N, K (a multiple of 4), PARAMETERS, ARGUMENTS, and for batch item `z`:
//   struct Row, `Row row_of(i64 z, int m)`, `const float* a_at(parameters, Row, int k)`: 4 neighbouring values of A from
//   k on, 16-byte aligned, or null for zeros; `const float* b_at(parameters, i64 z, int n, int k)`: the same of column n
//   of B, already rounded to TF32 when B_ROUNDED; `void store(parameters, i64 z, int m, int n, float acc)`.
#define TILE_K 32
#define PITCH (TILE_K + 4)  // floats a row in shared memory: no two lanes of a fragment share a bank
#define THREADS (32 * WARPS_M * WARPS_N)
#define CHUNKS (TILE_K / 4)
#define ROWS_A_PASS (THREADS / CHUNKS)
#define STEPS ((K + TILE_K - 1) / TILE_K)
#define FRAGMENTS_M (TILE_M / WARPS_M / 16)
#define FRAGMENTS_N (TILE_N / WARPS_N / 8)

__device__ inline void copy_async(float* to, const float* from) {
  const unsigned address = (unsigned)__cvta_generic_to_shared(to);
  const int bytes = from != nullptr ? 16 : 0;  // the rest is filled with zeros
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes));
}

__device__ inline unsigned to_tf32(float value) {
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
  return rounded;
}

__device__ inline void multiply(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

extern "C" __global__ void __launch_bounds__(THREADS) kernel(PARAMETERS) {
  extern __shared__ __align__(16) float shared[];
  float* const a_tiles = shared;
  float* const b_tiles = shared + STAGES * TILE_M * PITCH;
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int m0 = blockIdx.x * TILE_M, n0 = blockIdx.y * TILE_N;
  const i64 z = blockIdx.z;

  const int chunk = thread % CHUNKS, first_row = thread / CHUNKS;
  Row rows[TILE_M / ROWS_A_PASS];
#pragma unroll
  for (int i = 0; i < TILE_M / ROWS_A_PASS; ++i) rows[i] = row_of(z, m0 + first_row + i * ROWS_A_PASS);

  const auto load = [&](int step) {
    const int k = step * TILE_K + chunk * 4;
    float* const to_a = a_tiles + step % STAGES * (TILE_M * PITCH) + first_row * PITCH + chunk * 4;
    float* const to_b = b_tiles + step % STAGES * (TILE_N * PITCH) + first_row * PITCH + chunk * 4;
#pragma unroll
    for (int i = 0; i < TILE_M / ROWS_A_PASS; ++i) copy_async(to_a + i * ROWS_A_PASS * PITCH, k < K ? a_at(ARGUMENTS, rows[i], k) : nullptr);
#pragma unroll
    for (int i = 0; i < TILE_N / ROWS_A_PASS; ++i) {
      const int n = n0 + first_row + i * ROWS_A_PASS;
      copy_async(to_b + i * ROWS_A_PASS * PITCH, k < K && n < N ? b_at(ARGUMENTS, z, n, k) : nullptr);
    }
  };

  for (int step = 0; step < STAGES - 1; ++step) {
    if (step < STEPS) load(step);
    asm volatile("cp.async.commit_group;");
  }

  float acc[FRAGMENTS_M][FRAGMENTS_N][4] = {};
  const int warp_m = warp / WARPS_N * (TILE_M / WARPS_M), warp_n = warp % WARPS_N * (TILE_N / WARPS_N);
  const int group = lane / 4, member = lane % 4;
  for (int step = 0; step < STEPS; ++step) {
    asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
    __syncthreads();
    if (step + STAGES - 1 < STEPS) load(step + STAGES - 1);
    asm volatile("cp.async.commit_group;");
    const float* const a_tile = a_tiles + step % STAGES * (TILE_M * PITCH) + (warp_m + group) * PITCH + member;
    const float* const b_tile = b_tiles + step % STAGES * (TILE_N * PITCH) + (warp_n + group) * PITCH + member;
#pragma unroll
    for (int k = 0; k < TILE_K; k += 8) {
      unsigned a[FRAGMENTS_M][4], b[FRAGMENTS_N][2];
#pragma unroll
      for (int i = 0; i < FRAGMENTS_M; ++i)
#pragma unroll
        for (int part = 0; part < 4; ++part) a[i][part] = to_tf32(a_tile[(i * 16 + part % 2 * 8) * PITCH + k + part / 2 * 4]);
#pragma unroll
      for (int j = 0; j < FRAGMENTS_N; ++j)
#pragma unroll
        for (int part = 0; part < 2; ++part) {
          const float value = b_tile[j * 8 * PITCH + k + part * 4];
          b[j][part] = B_ROUNDED ? __float_as_uint(value) : to_tf32(value);
        }
#pragma unroll
      for (int i = 0; i < FRAGMENTS_M; ++i)
#pragma unroll
        for (int j = 0; j < FRAGMENTS_N; ++j) multiply(acc[i][j], a[i], b[j]);
    }
  }

#pragma unroll
  for (int i = 0; i < FRAGMENTS_M; ++i)
#pragma unroll
    for (int j = 0; j < FRAGMENTS_N; ++j)
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int m = m0 + warp_m + i * 16 + group + part / 2 * 8, n = n0 + warp_n + j * 8 + member * 2 + part % 2;
        if (m < M && n < N) store(ARGUMENTS, z, m, n, acc[i][j][part]);
      }
}
