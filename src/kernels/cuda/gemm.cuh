// C = A * B with operands and sums of the type Sum, float or int: tiles of TILE_M x TILE_N through shared memory,
// THREAD_M x THREAD_N results a thread, 256 threads.
//
// Around it the source defines N, K, PARAMETERS (the kernel's, M among them), and for batch item `z`:
//   struct Row, `Row row_of(parameters, i64 z, int m)` and `Sum load_a(parameters, Row, int k)`: A[m][k] with 0
//   outside, `Sum load_b(parameters, i64 z, int k, int n)`, `void store(parameters, i64 z, int m, int n, const Sum
//   (&)[RUN])`: RUN neighbouring columns; RUN divides N and THREAD_N.
#define TILE_K 16
#define THREADS 256
#define THREADS_N (TILE_N / THREAD_N)

extern "C" __global__ void __launch_bounds__(THREADS) kernel(PARAMETERS) {
  begin();
  __shared__ __align__(16) Sum a_tile[TILE_K][TILE_M + 4];
  __shared__ __align__(16) Sum b_tile[TILE_K][TILE_N + 4];
  const int thread = threadIdx.x, m0 = blockIdx.x * TILE_M, n0 = blockIdx.y * TILE_N;
  const i64 z = blockIdx.z;

  // A thread loads the same k of several rows of A, and the same n of several rows of B.
  const int a_k = thread % TILE_K, a_m = thread / TILE_K;
  const int b_n = thread % TILE_N, b_k = thread / TILE_N;
  Row rows[TILE_M * TILE_K / THREADS];
#pragma unroll
  for (int i = 0; i < TILE_M * TILE_K / THREADS; ++i) rows[i] = row_of(ARGUMENTS, z, m0 + a_m + i * (THREADS / TILE_K));

  Sum acc[THREAD_M][THREAD_N] = {};
  const int row = thread / THREADS_N * THREAD_M, column = thread % THREADS_N * THREAD_N;
  for (int k0 = 0; k0 < K; k0 += TILE_K) {
#pragma unroll
    for (int i = 0; i < TILE_M * TILE_K / THREADS; ++i)
      a_tile[a_k][a_m + i * (THREADS / TILE_K)] = k0 + a_k < K ? load_a(ARGUMENTS, rows[i], k0 + a_k) : Sum(0);
#pragma unroll
    for (int i = 0; i < TILE_N * TILE_K / THREADS; ++i) {
      const int k = b_k + i * (THREADS / TILE_N);
      b_tile[k][b_n] = k0 + k < K && n0 + b_n < N ? load_b(ARGUMENTS, z, k0 + k, n0 + b_n) : Sum(0);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < TILE_K; ++k) {
      __align__(16) Sum a[THREAD_M], b[THREAD_N];
#pragma unroll
      for (int i = 0; i < THREAD_M; i += 4) *(Run<Sum, 4>*)(a + i) = load_run<4>(&a_tile[k][row + i]);
#pragma unroll
      for (int j = 0; j < THREAD_N; j += 4) *(Run<Sum, 4>*)(b + j) = load_run<4>(&b_tile[k][column + j]);
#pragma unroll
      for (int i = 0; i < THREAD_M; ++i)
#pragma unroll
        for (int j = 0; j < THREAD_N; ++j) acc[i][j] += a[i] * b[j];
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < THREAD_M; ++i)
#pragma unroll
    for (int j = 0; j < THREAD_N; j += RUN) {
      const int m = m0 + row + i, n = n0 + column + j;
      if (m < M && n < N) store(ARGUMENTS, z, m, n, *(const Sum(*)[RUN])(acc[i] + j));
    }
}
