// Reductions of neighbouring dims with others behind them: x is [outer][EXTENT][INNER]. LANES neighbouring threads have
// runs of RUN neighbouring columns, and the rest of the block shares the rows. With SPLIT > 1 a cluster of SPLIT blocks
// (compute capability 9.0 on) shares them. What is combined is combined in the same order in every run.
//
// Around it, and block.cuh, the source defines T, COUNT (of results), COMBINE, START, TERM(v) and FINISH(acc).
#define THREADS 512
#define ROWS (THREADS / LANES)

extern "C" __global__ void __launch_bounds__(THREADS) kernel(T* y, const T* x) {
  begin();
  __shared__ float partial[ROWS][LANES][RUN];
  const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES, part = blockIdx.x % SPLIT;
  const i64 index = ((i64)(blockIdx.x / SPLIT) * LANES + lane) * RUN;
  const int end = (i64)EXTENT * (part + 1) / SPLIT;
  float acc[RUN];
#pragma unroll
  for (int j = 0; j < RUN; ++j) acc[j] = START;
  if (index < COUNT)
#pragma unroll 8
    for (int i = (i64)EXTENT * part / SPLIT + row; i < end; i += ROWS) {
      const auto run = load_run<RUN>(x + (index / INNER * EXTENT + i) * INNER + index % INNER);
#pragma unroll
      for (int j = 0; j < RUN; ++j) {
        const float v = run.v[j];
        acc[j] = COMBINE(acc[j], TERM(v));
      }
    }
#pragma unroll
  for (int j = 0; j < RUN; ++j) partial[row][lane][j] = acc[j];
#pragma unroll
  for (int rows = ROWS / 2; rows > 0; rows /= 2) {
    __syncthreads();
    if (row < rows)
#pragma unroll
      for (int j = 0; j < RUN; ++j)
        partial[row][lane][j] = COMBINE(partial[row][lane][j], partial[row + rows][lane][j]);
  }
#if SPLIT > 1
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
#endif
  if (part == 0 && row == 0 && index < COUNT) {
    float results[RUN];
#pragma unroll
    for (int j = 0; j < RUN; ++j) {
      float acc = partial[0][lane][j];
#if SPLIT > 1
      const unsigned here = (unsigned)__cvta_generic_to_shared(&partial[0][lane][j]);
#pragma unroll
      for (int other = 1; other < SPLIT; ++other) {
        float v;
        asm volatile(
            "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %1, %2;\nld.shared::cluster.f32 %0, [there];\n}"
            : "=f"(v)
            : "r"(here), "r"(other));
        acc = COMBINE(acc, v);
      }
#endif
      results[j] = FINISH(acc);
    }
    store_run(y + index, results);
  }
#if SPLIT > 1
  // The others' memory is theirs until it was read.
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
#endif
}
