// A recurrent layer in two launches: `before` multiplies all inputs by W, then a block for each direction and TILE
// sequences goes through the time with its states in shared memory.
//
// Around it the source defines TIME, BATCH, IN, HIDDEN, WIDTH (gates * HIDDEN), DIRS, TILE, THREADS; LSTM or GRU where
// it is one; RESET_AFTER, INPUT_FORGET and REVERSE as 0 or 1; PARAMETERS; what an element of an optional input is, 0
// where there is none: START_H(i), START_C(i), PEEPHOLE(i); LENGTH(batch); STORE_LAST(i, h, c); and activations
// `float act0(int direction, float)`, act1, act2. Weights are W(direction, k, column) of the input k, R of the state k,
// and BIAS(direction, which, column), W's for which = 0 and R's for 1. gates is [TIME][BATCH][DIRS][WIDTH].
extern "C" __global__ void __launch_bounds__(256) before(PARAMETERS) {
  begin();
  constexpr int ROWS = TIME * BATCH, COLUMNS = DIRS * WIDTH;
  __shared__ float a[32][33], b[32][33];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = blockIdx.x * 32, column = blockIdx.y * 32 + lane;
  const int direction = column / WIDTH;
  float sums[4] = {};
  for (int k = 0; k < IN; k += 32) {
#pragma unroll
    for (int i = warp; i < 32; i += 8) {
      a[i][lane] = first + i < ROWS && k + lane < IN ? (float)x[(i64)(first + i) * IN + k + lane] : 0.0f;
      b[i][lane] = column < COLUMNS && k + i < IN ? W(direction, k + i, column % WIDTH) : 0.0f;
    }
    __syncthreads();
    for (int i = 0; i < 32; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[j] += a[warp + 8 * j][i] * b[i][lane];
    __syncthreads();
  }
#pragma unroll
  for (int j = 0; j < 4; ++j)
    if (const int row = first + warp + 8 * j; row < ROWS && column < COLUMNS)
      gates[(i64)row * COLUMNS + column] = sums[j] + BIAS(direction, 0, column % WIDTH);
}

extern "C" __global__ void __launch_bounds__(THREADS) kernel(PARAMETERS) {
  begin();
  extern __shared__ float memory[];
  float *h = memory, *c = h + TILE * HIDDEN, *sums = c + TILE * HIDDEN;
  const int thread = threadIdx.x, first = blockIdx.x * TILE, direction = blockIdx.y;
  const bool backwards = REVERSE || direction == 1;
  // sums[b][column] = state[b] * r + bias
  const auto multiply = [&](const float* state, int from, int to) {
    for (int column = from + thread; column < to; column += THREADS) {
      float acc[TILE];
#pragma unroll
      for (int b = 0; b < TILE; ++b) acc[b] = BIAS(direction, 1, column);
#pragma unroll 8
      for (int k = 0; k < HIDDEN; ++k) {
        const float weight = R(direction, k, column);
#pragma unroll
        for (int b = 0; b < TILE; ++b) acc[b] += state[b * HIDDEN + k] * weight;
      }
#pragma unroll
      for (int b = 0; b < TILE; ++b) sums[b * WIDTH + column] = acc[b];
    }
    __syncthreads();
  };
  for (int i = thread; i < TILE * HIDDEN; i += THREADS) {
    const int batch = first + i / HIDDEN;
    const i64 at = ((i64)direction * BATCH + batch) * HIDDEN + i % HIDDEN;
    h[i] = batch < BATCH ? (float)START_H(at) : 0.0f;
    c[i] = batch < BATCH ? (float)START_C(at) : 0.0f;
  }
  __syncthreads();
  for (int step = 0; step < TIME; ++step) {
#ifdef GRU
    multiply(h, 0, RESET_AFTER ? 3 * HIDDEN : 2 * HIDDEN);
    if (!RESET_AFTER) {
      float* reset = c;
      for (int i = thread; i < TILE * HIDDEN; i += THREADS) {
        const int batch = first + i / HIDDEN, j = i % HIDDEN;
        if (batch >= BATCH) continue;
        const int length = LENGTH(batch), t = backwards && step < length ? length - 1 - step : step;
        const float* gate = gates + (((i64)t * BATCH + batch) * DIRS + direction) * WIDTH + j;
        reset[i] = act0(direction, gate[HIDDEN] + sums[i / HIDDEN * WIDTH + HIDDEN + j]) * h[i];
      }
      __syncthreads();
      multiply(reset, 2 * HIDDEN, 3 * HIDDEN);
    }
#else
    multiply(h, 0, WIDTH);
#endif
    for (int i = thread; i < TILE * HIDDEN; i += THREADS) {
      const int batch = first + i / HIDDEN, j = i % HIDDEN;
      if (batch >= BATCH) continue;
      const int length = LENGTH(batch), t = backwards && step < length ? length - 1 - step : step;
      const float* gate = gates + (((i64)t * BATCH + batch) * DIRS + direction) * WIDTH + j;
      const float* sum = sums + i / HIDDEN * WIDTH + j;
      if (step < length) {
#if defined(LSTM)
        const i64 p = direction * 3 * HIDDEN + j;
        const float in = act0(direction, gate[0] + sum[0] + PEEPHOLE(p) * c[i]);
        const float keep = INPUT_FORGET ? 1 - in
                                        : act0(direction, gate[2 * HIDDEN] + sum[2 * HIDDEN] +
                                                              PEEPHOLE(p + 2 * HIDDEN) * c[i]);
        c[i] = keep * c[i] + in * act1(direction, gate[3 * HIDDEN] + sum[3 * HIDDEN]);
        const float out = act0(direction, gate[HIDDEN] + sum[HIDDEN] + PEEPHOLE(p + HIDDEN) * c[i]);
        h[i] = out * act2(direction, c[i]);
#elif defined(GRU)
        const float keep = act0(direction, gate[0] + sum[0]);
        const float scale = RESET_AFTER ? act0(direction, gate[HIDDEN] + sum[HIDDEN]) : 1;
        h[i] = (1 - keep) * act1(direction, gate[2 * HIDDEN] + scale * sum[2 * HIDDEN]) + keep * h[i];
#else
        h[i] = act0(direction, gate[0] + sum[0]);
#endif
      }
      y[(((i64)t * DIRS + direction) * BATCH + batch) * HIDDEN + j] = (T)(step < length ? h[i] : 0.0f);
    }
    __syncthreads();
  }
  for (int i = thread; i < TILE * HIDDEN; i += THREADS) {
    const int batch = first + i / HIDDEN;
    const i64 at = ((i64)direction * BATCH + batch) * HIDDEN + i % HIDDEN;
    if (batch < BATCH) STORE_LAST(at, h[i], c[i]);
  }
}
