// Reductions of neighbouring dims with others behind them: x is [outer][EXTENT][INNER]. LANES neighbouring threads have
// runs of RUN neighbouring columns, and the THREADS of a block share the rows, of which a thread asks for several at
// once. With SPLIT > 1 a cluster of SPLIT blocks (compute capability 9.0 on) shares them. What is combined is combined
// in the same order in every run.
//
// Around it, and block.cuh, the source defines T, COUNT (of results), COMBINE, START, TERM(v) and FINISH(acc).
#define ROWS (THREADS / LANES)
#define COLUMNS (LANES * RUN)
#define PIECES (THREADS / COLUMNS)
#define LOADS (((EXTENT + SPLIT - 1) / SPLIT + ROWS - 1) / ROWS)
#define AT_ONCE (LOADS < 8 ? LOADS : 8)

extern "C" __global__ void __launch_bounds__(THREADS) kernel(T* y, const T* x) {
#if SPLIT > 1
  // Its other half, the wait, says that all blocks' memory is there.
  asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
#endif
  begin();
  __shared__ __align__(16) float rows[ROWS][COLUMNS];
  __shared__ float pieces[PIECES][COLUMNS];
  const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES, part = blockIdx.x % SPLIT;
  const i64 first = (i64)(blockIdx.x / SPLIT) * COLUMNS, index = first + lane * RUN;
  const int end = index < COUNT ? (i64)EXTENT * (part + 1) / SPLIT : 0;
  const T* const from = x + index / INNER * EXTENT * INNER + index % INNER;
  float acc[RUN];
#pragma unroll
  for (int j = 0; j < RUN; ++j) acc[j] = START;
  for (int i = (i64)EXTENT * part / SPLIT + row; i < end; i += AT_ONCE * ROWS) {
    Run<T, RUN> runs[AT_ONCE];
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k)
      if (i + k * ROWS < end) runs[k] = load_run<RUN>(from + (i64)(i + k * ROWS) * INNER);
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k) {
      if (i + k * ROWS >= end) continue;
#pragma unroll
      for (int j = 0; j < RUN; ++j) {
        const float v = runs[k].v[j];
        acc[j] = COMBINE(acc[j], TERM(v));
      }
    }
  }
  store_run(&rows[row][lane * RUN], acc);
  __syncthreads();
  const int column = threadIdx.x % COLUMNS, piece = threadIdx.x / COLUMNS;
  float result = rows[piece][column];
#pragma unroll
  for (int j = 1; j < RUN; ++j) result = COMBINE(result, rows[piece + j * PIECES][column]);
  pieces[piece][column] = result;
  __syncthreads();
  if (piece == 0)
#pragma unroll
    for (int p = 1; p < PIECES; ++p) result = COMBINE(result, pieces[p][column]);
#if SPLIT > 1
  __shared__ float parts[SPLIT][COLUMNS];
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
  if (piece == 0)
    asm volatile(
        "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, 0;\nst.shared::cluster.f32 [there], %1;\n}" ::"r"(
            (unsigned)__cvta_generic_to_shared(&parts[part][column])),
        "f"(result)
        : "memory");
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
  if (part == 0 && piece == 0) {
    result = parts[0][column];
#pragma unroll
    for (int p = 1; p < SPLIT; ++p) result = COMBINE(result, parts[p][column]);
  }
#endif
  if (part == 0 && piece == 0 && first + column < COUNT) y[first + column] = (T)(FINISH(result));
}
