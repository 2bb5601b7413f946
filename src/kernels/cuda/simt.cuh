// C = A * B in f32 by the FMAs of single threads: a block computes a tile of TILE_M x TILE_N, a thread THREAD_M x
// THREAD_N of it. Slices of TILE_K are on their way through shared memory, STAGES at once; each result is summed in the
// order of k.
//
// Around it the source defines what mma.cuh wants, with A and Sum for float, and WARPS_M and WARPS_N, THREAD_M and
// THREAD_N, the latter a multiple of 4.
#define TILE_K 16
#define CHUNKS (TILE_K / 4)  // of 16 bytes, of a row
#define THREADS_M (8 * WARPS_M)
#define THREADS_N (4 * WARPS_N)
#define THREADS (THREADS_M * THREADS_N)
#define TILE_M (THREADS_M * THREAD_M)
#define TILE_N (THREADS_N * THREAD_N)
#define ROWS_A_PASS (THREADS / CHUNKS)
#define STEPS ((K + TILE_K - 1) / TILE_K)
#define STAGE ((TILE_M + TILE_N) * TILE_K)

extern "C" __global__ void __launch_bounds__(THREADS, 384 / THREADS) kernel(PARAMETERS) {
  begin();
  extern __shared__ __align__(16) float shared[];
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int m0 = blockIdx.x * TILE_M, n0 = blockIdx.y * TILE_N;
  const i64 z = blockIdx.z;

  const int chunk = thread % CHUNKS, first_row = thread / CHUNKS;
  Row rows[TILE_M / ROWS_A_PASS];
#pragma unroll
  for (int i = 0; i < TILE_M / ROWS_A_PASS; ++i) rows[i] = row_of(ARGUMENTS, z, m0 + first_row + i * ROWS_A_PASS);

  const auto load = [&](int step) {
    const int k = step * TILE_K + chunk * 4;
    float* const a_tile = shared + step % STAGES * STAGE;
    float* const b_tile = a_tile + TILE_M * TILE_K;
#pragma unroll
    for (int i = 0; i < TILE_M / ROWS_A_PASS; ++i) {
      const int row = first_row + i * ROWS_A_PASS;
      copy_async(a_tile + row * TILE_K + (chunk ^ row / 2 % 4) * 4, k < K ? a_at(ARGUMENTS, rows[i], k) : nullptr, y);
    }
#pragma unroll
    for (int i = 0; i < TILE_N / ROWS_A_PASS; ++i) {
      const int row = first_row + i * ROWS_A_PASS, n = n0 + row;
      copy_async(b_tile + row * TILE_K + (chunk ^ row / 4 % 4) * 4, k < K && n < N ? b_at(ARGUMENTS, z, n, k) : nullptr,
                 y);
    }
  };
#pragma unroll
  for (int step = 0; step < STAGES - 1; ++step) {
    if (step < STEPS) load(step);
    asm volatile("cp.async.commit_group;");
  }

  // A thread's rows are THREADS_M apart; its columns are runs of 4. A warp has 8 of the former and 4 of the latter, so
  // that of two neighbouring lanes, and of two pairs, one operand is the same.
  const int row = warp / WARPS_N * 8 + (lane / 2 % 2 | lane / 8 * 2);
  const int column = (warp % WARPS_N * 4 + (lane % 2 | lane / 4 % 2 * 2)) * 4;
  // A row's chunks are turned, so that neither 8 rows behind each other nor every 4th share a bank.
  const int turn_a = row / 2 % 4 * 4, turn_b = column / 4 % 4 * 4;
  float acc[THREAD_M][THREAD_N] = {};
#pragma unroll 1
  for (int step = 0; step < STEPS; ++step) {
    asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
    __syncthreads();
    if (step + STAGES - 1 < STEPS) load(step + STAGES - 1);
    asm volatile("cp.async.commit_group;");
    const float* const a_tile = shared + step % STAGES * STAGE + row * TILE_K;
    const float* const b_tile = shared + step % STAGES * STAGE + (TILE_M + column) * TILE_K;
#pragma unroll
    for (int part = 0; part < CHUNKS; ++part) {
      Run<float, 4> a[THREAD_M];
#pragma unroll
      for (int i = 0; i < THREAD_M; ++i) a[i] = load_run<4>(a_tile + i * THREADS_M * TILE_K + (part * 4 ^ turn_a));
#pragma unroll
      for (int j = 0; j < THREAD_N; ++j) {
        const Run<float, 4> b = load_run<4>(b_tile + (j / 4 * (THREADS_N * 4) + j % 4) * TILE_K + (part * 4 ^ turn_b));
#pragma unroll
        for (int k = 0; k < 4; ++k)
#pragma unroll
          for (int i = 0; i < THREAD_M; ++i) acc[i][j] += a[i].v[k] * b.v[k];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < THREAD_M; ++i)
#pragma unroll
    for (int j = 0; j < THREAD_N; j += RUN) {
      const int m = m0 + row + i * THREADS_M, n = n0 + column + j / 4 * (THREADS_N * 4) + j % 4;
      if (m < M && n < N) store(ARGUMENTS, z, m, n, *(const float(*)[RUN])(acc[i] + j));
    }
}
