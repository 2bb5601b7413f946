// Squeeze and excite: the mean of each channel of an image, two layers of these means, and what scales the channels by
// the result, without a trip through memory between. A cluster of SPLIT blocks (compute capability 9.0 on) has an
// image: each a part of its pixels, and of the two layers' work that of a part of the channels. Results between are
// rounded to T, as they are where each layer is a kernel. What is added is added in the same order in every run.
//
// Around it, the source defines T, RUN (neighbouring elements that a thread takes at once), PIXELS, CHANNELS and HIDDEN
// (between the layers), SPLIT, THREADS, Sum, COLUMNS (numbers that a layer has for each of its results), `first_of(Sum
// sum, const float (&columns)[COLUMNS])` and `second_of`, and `scaled(float v, float gate)`. Of the weights, `first`
// has CHANNELS elements a row and `second` HIDDEN_ROW, a multiple of RUN, those behind HIDDEN zero; `columns` are those
// of the first layer, one behind the other, then of the second.
#define LANES (CHANNELS / RUN)
#define ROWS (THREADS / LANES)
#define HIDDEN_RUNS (HIDDEN_ROW / RUN)
#define AT_ONCE 8

__device__ inline void meet() {
#if SPLIT > 1
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
#else
  __syncthreads();
#endif
}

// Where another block of the cluster has what is `here`.
__device__ inline unsigned there(const float* here, int block) {
  unsigned address = (unsigned)__cvta_generic_to_shared(here);
#if SPLIT > 1
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(address), "r"(block));
#endif
  return address;
}
__device__ inline float load_there(const float* here, int block) {
  float v;
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(v) : "r"(there(here, block)) : "memory");
  return v;
}
__device__ inline void store_there(float* here, int block, float v) {
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there(here, block)), "f"(v) : "memory");
}

// Products of rows of weights, `stride` elements apart, by `runs` runs of values in shared memory; a few neighbouring
// threads share a row, and each of them gets its sum: `use(row, sum, lane, lanes)`.
template <int most_runs, class Use>
__device__ inline void multiply(const T* weights, int stride, int rows, int runs, const float* values, const Use& use) {
  constexpr int kLanes = most_runs > 16 ? 32 : most_runs > 8 ? 16 : most_runs > 4 ? 8 : most_runs > 2 ? 4 : most_runs;
  const int lane = threadIdx.x % kLanes;
#pragma unroll 2
  for (int before = 0; before < rows; before += THREADS / kLanes) {
    const int row = before + threadIdx.x / kLanes;
    float sum = 0;
    if (row < rows)
      for (int run = lane; run < runs; run += kLanes) {
        const Run<T, RUN> factors = load_run<RUN>(weights + (i64)row * stride + run * RUN);
        const Run<float, RUN> others = load_run<RUN>(values + run * RUN);
#pragma unroll
        for (int j = 0; j < RUN; ++j) sum += (float)factors.v[j] * others.v[j];
      }
#pragma unroll
    for (int offset = kLanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (row < rows) use(row, sum, lane, kLanes);
  }
}

template <int count>
__device__ inline void columns_of(float (&columns)[COLUMNS], const float* of_layer, int index) {
#pragma unroll
  for (int k = 0; k < COLUMNS; ++k) columns[k] = of_layer[k * count + index];
}

extern "C" __global__ void __launch_bounds__(THREADS)
    kernel(T* y, const T* x, const T* first, const T* second, const float* columns) {
  constexpr int kMostRuns = (LANES + SPLIT - 1) / SPLIT, kOwn = kMostRuns * RUN;
  // A block's weights and columns, where there is room for them: they do not wait for the launch ahead.
  constexpr int kWeights = kOwn * (HIDDEN + HIDDEN_ROW), kColumns = COLUMNS * (HIDDEN + kOwn);
  constexpr bool kHeld =
      kWeights * sizeof(T) + 4 * (kColumns + (ROWS + 1) * CHANNELS + kOwn + HIDDEN_ROW + SPLIT * HIDDEN) <= 47 * 1024;
  __shared__ __align__(16) T held[kHeld ? kWeights : 1];
  __shared__ float held_columns[kHeld ? kColumns : 1];
  __shared__ __align__(16) float rows[ROWS * CHANNELS];
  __shared__ __align__(16) float sums[CHANNELS];  // later what scales the channels
  __shared__ __align__(16) float means[kMostRuns * RUN];
  __shared__ __align__(16) float hidden[HIDDEN_ROW];
  __shared__ float parts[SPLIT * HIDDEN];
  const int part = blockIdx.x % SPLIT, lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
  const int first_pixel = PIXELS * part / SPLIT, last_pixel = row < ROWS ? PIXELS * (part + 1) / SPLIT : 0;
  const int first_run = LANES * part / SPLIT, runs = LANES * (part + 1) / SPLIT - first_run, channel = first_run * RUN;
  const i64 image = (i64)(blockIdx.x / SPLIT) * PIXELS * CHANNELS + lane * RUN;
  const T* const of_hidden = kHeld ? held : first + channel;
  const T* const of_channels = kHeld ? held + HIDDEN * kOwn : second + (i64)channel * HIDDEN_ROW;
  const float* const first_columns = kHeld ? held_columns : columns;
  const float* const second_columns = kHeld ? held_columns + COLUMNS * HIDDEN : columns + COLUMNS * HIDDEN + channel;
  if (kHeld) {
    for (int i = threadIdx.x; i < HIDDEN * kMostRuns; i += THREADS) {
      const int h = i / kMostRuns, run = i % kMostRuns;
      if (run < runs) *(Run<T, RUN>*)(held + i * RUN) = load_run<RUN>(first + (i64)h * CHANNELS + channel + run * RUN);
    }
    for (int i = threadIdx.x; i < runs * RUN * HIDDEN_RUNS; i += THREADS)
      *(Run<T, RUN>*)(held + HIDDEN * kOwn + i * RUN) = load_run<RUN>(second + (i64)channel * HIDDEN_ROW + i * RUN);
    for (int i = threadIdx.x; i < COLUMNS * HIDDEN; i += THREADS) held_columns[i] = columns[i];
    for (int i = threadIdx.x; i < COLUMNS * kOwn; i += THREADS)
      if (i % kOwn < runs * RUN)
        held_columns[COLUMNS * HIDDEN + i] = columns[COLUMNS * HIDDEN + i / kOwn * CHANNELS + channel + i % kOwn];
  }
  begin();

  float acc[RUN] = {};
  for (int pixel = first_pixel + row; pixel < last_pixel; pixel += AT_ONCE * ROWS) {
    Run<T, RUN> values[AT_ONCE];
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k)
      if (pixel + k * ROWS < last_pixel) values[k] = load_run<RUN>(x + image + (i64)(pixel + k * ROWS) * CHANNELS);
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k)
      if (pixel + k * ROWS < last_pixel)
#pragma unroll
        for (int j = 0; j < RUN; ++j) acc[j] += (float)values[k].v[j];
  }
  if (row < ROWS) store_run(rows + row * CHANNELS + lane * RUN, acc);
  __syncthreads();
  for (int c = threadIdx.x; c < CHANNELS; c += THREADS) {
    float sum = 0;
#pragma unroll 8
    for (int r = 0; r < ROWS; ++r) sum += rows[r * CHANNELS + c];
    sums[c] = sum;
  }
  meet();

  for (int c = threadIdx.x; c < runs * RUN; c += THREADS) {
    float sum = 0;
#pragma unroll
    for (int p = 0; p < SPLIT; ++p) sum += load_there(sums + channel + c, p);
    means[c] = (float)(T)(sum / PIXELS);
  }
  __syncthreads();
  multiply<kMostRuns>(of_hidden, kHeld ? kOwn : CHANNELS, HIDDEN, runs, means,
                      [&](int h, float sum, int from, int step) {
                        for (int p = from; p < SPLIT; p += step) store_there(parts + part * HIDDEN + h, p, sum);
                      });
  meet();

  float of_result[COLUMNS];
  for (int h = threadIdx.x; h < HIDDEN_ROW; h += THREADS) {
    float sum = 0;
    if (h < HIDDEN) {
#pragma unroll
      for (int p = 0; p < SPLIT; ++p) sum += parts[p * HIDDEN + h];
      columns_of<HIDDEN>(of_result, first_columns, h);
      sum = (float)(T)first_of(sum, of_result);
    }
    hidden[h] = sum;
  }
  __syncthreads();
  multiply<HIDDEN_RUNS>(of_channels, HIDDEN_ROW, runs * RUN, HIDDEN_RUNS, hidden,
                        [&](int c, float sum, int from, int step) {
                          columns_of<kHeld ? kOwn : CHANNELS>(of_result, second_columns, c);
                          const float gate = (float)(T)second_of(sum, of_result);
                          for (int p = from; p < SPLIT; p += step) store_there(sums + channel + c, p, gate);
                        });
  meet();

  const Run<float, RUN> gates = load_run<RUN>(sums + lane * RUN);
  for (int pixel = first_pixel + row; pixel < last_pixel; pixel += AT_ONCE * ROWS) {
    Run<T, RUN> values[AT_ONCE];
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k)
      if (pixel + k * ROWS < last_pixel) values[k] = load_run<RUN>(x + image + (i64)(pixel + k * ROWS) * CHANNELS);
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k) {
      if (pixel + k * ROWS >= last_pixel) continue;
      float results[RUN];
#pragma unroll
      for (int j = 0; j < RUN; ++j) results[j] = scaled((float)values[k].v[j], gates.v[j]);
      store_run(y + image + (i64)(pixel + k * ROWS) * CHANNELS, results);
    }
  }
}
