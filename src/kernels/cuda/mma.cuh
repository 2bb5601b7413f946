// C = A * B on tensor cores. The operands' type A is f16, bf16, or float, whose values are rounded to TF32 (10 bits of
// mantissa), with sums (Sum, an operand IN_SUM of asm) in float, e4m3 with such sums of each slice, or signed char with
// sums in int. A block computes a tile of TILE_M x TILE_N. Its GROUPS of WARPS_M x WARPS_N warps take every GROUPS-th
// slice of TILE_K words of 4 bytes, with STAGES slices of each on their way through shared memory at once; their sums
// are added in order, so that a result has the same bits on every run.
//
// Around it the source defines N, K, PARAMETERS, ARGUMENTS, MMA (the instruction), and for batch item `z`:
//   `y`, the output, and M among the parameters, struct Row, `Row row_of(parameters, i64 z, int m)`, `const A*
//   a_at(parameters, Row, int k)`: 16 bytes of neighbouring values of A from k on, aligned, or null for zeros; `const
//   A* b_at(parameters, i64 z, int n, int k)`: the same of column n of B, already rounded to TF32 when B_ROUNDED;
//   `void store(parameters, i64 z, int m, int n, const Sum (&)[RUN])`: RUN neighbouring columns, which divide N and
//   TILE_N.
// Where A has no 16 bytes in a row, GATHERED is 1, and `float element_a(parameters, Row, int k)` takes the place of
// a_at.
#define WORD ((int)(4 / sizeof(A)))  // elements
#define TILE_K 32
#define PITCH (TILE_K + 4)                // words a row in shared memory: no two lanes of a fragment share a bank
#define THREADS (32 * WARPS_M * WARPS_N)  // of a group
#define CHUNKS (TILE_K / 4)
#define ROWS_A_PASS (THREADS / CHUNKS)
#define STEPS ((K + TILE_K * WORD - 1) / (TILE_K * WORD))
#define GROUP_WORDS (STAGES * (TILE_M + TILE_N) * PITCH)
#define OUT_PITCH (TILE_N + 4)
#define FRAGMENTS_M (TILE_M / WARPS_M / 16)
#define FRAGMENTS_N (TILE_N / WARPS_N / 8)

template <bool rounded>
__device__ inline unsigned operand(unsigned word) {
  if (WORD > 1 || rounded) return word;
  unsigned nearest;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(nearest) : "f"(__uint_as_float(word)));
  return nearest;
}

__device__ inline void multiply(Sum (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(MMA " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : IN_SUM(c[0]), IN_SUM(c[1]), IN_SUM(c[2]), IN_SUM(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

extern "C" __global__ void __launch_bounds__(THREADS* GROUPS) kernel(PARAMETERS) {
  begin();
  extern __shared__ __align__(16) unsigned shared[];
  const int thread = threadIdx.x % THREADS, group_k = threadIdx.x / THREADS, lane = thread % 32, warp = thread / 32;
  unsigned* const a_tiles = shared + group_k * GROUP_WORDS;
  unsigned* const b_tiles = a_tiles + STAGES * TILE_M * PITCH;
  const int m0 = blockIdx.x * TILE_M, n0 = blockIdx.y * TILE_N;
  const i64 z = blockIdx.z;

  const int chunk = thread % CHUNKS, first_row = thread / CHUNKS;
  Row rows[TILE_M / ROWS_A_PASS];
#pragma unroll
  for (int i = 0; i < TILE_M / ROWS_A_PASS; ++i) rows[i] = row_of(ARGUMENTS, z, m0 + first_row + i * ROWS_A_PASS);

  // The group's own slice number `step`.
  const auto load = [&](int step) {
    const int k = ((step * GROUPS + group_k) * TILE_K + chunk * 4) * WORD;
    unsigned* const to_a = a_tiles + step % STAGES * (TILE_M * PITCH) + first_row * PITCH + chunk * 4;
    unsigned* const to_b = b_tiles + step % STAGES * (TILE_N * PITCH) + first_row * PITCH + chunk * 4;
#pragma unroll
    for (int i = 0; i < TILE_M / ROWS_A_PASS; ++i) {
      unsigned* const to = to_a + i * ROWS_A_PASS * PITCH;
#if GATHERED
      float run[4 * WORD];
#pragma unroll
      for (int e = 0; e < 4 * WORD; ++e) run[e] = k + e < K ? element_a(ARGUMENTS, rows[i], k + e) : 0.0f;
      store_run((A*)to, run);
#else
      copy_async(to, k < K ? a_at(ARGUMENTS, rows[i], k) : nullptr, y);
#endif
    }
#pragma unroll
    for (int i = 0; i < TILE_N / ROWS_A_PASS; ++i) {
      const int n = n0 + first_row + i * ROWS_A_PASS;
      copy_async(to_b + i * ROWS_A_PASS * PITCH, k < K && n < N ? b_at(ARGUMENTS, z, n, k) : nullptr, y);
    }
  };

  // Of each group, of zeros where its slices end early: groups that met at different numbers of barriers would have
  // racecheck name hazards that are none.
  constexpr int steps = (STEPS + GROUPS - 1) / GROUPS;
  for (int step = 0; step < STAGES - 1; ++step) {
    if (step < steps) load(step);
    asm volatile("cp.async.commit_group;");
  }

  Sum acc[FRAGMENTS_M][FRAGMENTS_N][4] = {};
  const int warp_m = warp / WARPS_N * (TILE_M / WARPS_M), warp_n = warp % WARPS_N * (TILE_N / WARPS_N);
  const int group = lane / 4, member = lane % 4;
  for (int step = 0; step < steps; ++step) {
    asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
    asm volatile("bar.sync %0, %1;" ::"r"(group_k + 1), "n"(THREADS) : "memory");
    if (step + STAGES - 1 < steps) load(step + STAGES - 1);
    asm volatile("cp.async.commit_group;");
    const unsigned* const a_tile = a_tiles + step % STAGES * (TILE_M * PITCH) + (warp_m + group) * PITCH + member;
    const unsigned* const b_tile = b_tiles + step % STAGES * (TILE_N * PITCH) + (warp_n + group) * PITCH + member;
    Sum parts[FRAGMENTS_M][FRAGMENTS_N][4] = {};
    auto& products = promotes<A> ? parts : acc;
#pragma unroll
    for (int k = 0; k < TILE_K; k += 8) {
      unsigned a[FRAGMENTS_M][4], b[FRAGMENTS_N][2];
#pragma unroll
      for (int i = 0; i < FRAGMENTS_M; ++i)
#pragma unroll
        for (int part = 0; part < 4; ++part)
          a[i][part] = operand<false>(a_tile[(i * 16 + part % 2 * 8) * PITCH + k + part / 2 * 4]);
#pragma unroll
      for (int j = 0; j < FRAGMENTS_N; ++j)
#pragma unroll
        for (int part = 0; part < 2; ++part) b[j][part] = operand<B_ROUNDED>(b_tile[j * 8 * PITCH + k + part * 4]);
#pragma unroll
      for (int i = 0; i < FRAGMENTS_M; ++i)
#pragma unroll
        for (int j = 0; j < FRAGMENTS_N; ++j) multiply(products[i][j], a[i], b[j]);
    }
    if (promotes<A>) {
#pragma unroll
      for (int i = 0; i < FRAGMENTS_M; ++i)
#pragma unroll
        for (int j = 0; j < FRAGMENTS_N; ++j)
#pragma unroll
          for (int part = 0; part < 4; ++part) acc[i][j][part] += parts[i][j][part];
    }
  }

  // Through shared memory, so that neighbouring threads store neighbouring results.
  asm volatile("cp.async.wait_all;");
  __syncthreads();
  Sum* const staged = (Sum*)shared + group_k * (TILE_M * OUT_PITCH);
#pragma unroll
  for (int i = 0; i < FRAGMENTS_M; ++i)
#pragma unroll
    for (int j = 0; j < FRAGMENTS_N; ++j)
#pragma unroll
      for (int part = 0; part < 4; ++part)
        staged[(warp_m + i * 16 + group + part / 2 * 8) * OUT_PITCH + warp_n + j * 8 + member * 2 + part % 2] =
            acc[i][j][part];
  __syncthreads();
#pragma unroll 4
  for (int i = threadIdx.x; i < TILE_M * TILE_N / RUN; i += THREADS * GROUPS) {
    const int row = i / (TILE_N / RUN), column = i % (TILE_N / RUN) * RUN;
    Sum sums[RUN] = {};
#pragma unroll
    for (int g = 0; g < GROUPS; ++g)
#pragma unroll
      for (int j = 0; j < RUN; ++j)
        sums[j] += ((const Sum*)shared)[g * (TILE_M * OUT_PITCH) + row * OUT_PITCH + column + j];
    if (m0 + row < M && n0 + column < N) store(ARGUMENTS, z, m0 + row, n0 + column, sums);
  }
}
