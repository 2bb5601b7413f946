// softmax(q k^T * scale + mask) v in fp32, for any T: a block of 256 threads takes 16 * RUN queries of one head, and
// the keys pass by in blocks of BLOCK, while each row's maximum and sum are kept (Dao, FlashAttention-2, 2023). Thread
// (ty, tx) of 16 x 16 makes the scores of RUN queries and every 16th key, and then every 16th column of their results.
//
// Around it the source defines what attention.cuh asks for, BLOCK and RUN.
#define ROWS (16 * RUN)
#define PITCH_Q (ROWS + 8)  // floats: no two lanes that store 8 rows of 4 columns share a bank
#define PITCH_K (BLOCK + 8)
#define PITCH_P (ROWS + 4)
#define COLUMNS ((V_SIZE + 15) / 16)  // of a thread
#define KEYS_OF_THREAD (BLOCK / 16)

typedef RunOf<float, RUN> Queries;

// What is subtracted ahead of the exponential; a row that is all masked so far gets zeros.
__device__ inline float base_of(float largest) { return largest == -INF ? 0.0f : largest; }

// A tile of rows from `first` on, column by column; beyond the last row there are zeros.
template <int rows, int pitch, class RowAt>
__device__ inline void load_columns(float* tile, int first, int count, const RowAt& row_at) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int piece = warp; piece < rows / 8 * ((SIZE + 3) / 4); piece += 8) {
    const int row = piece % (rows / 8) * 8 + lane / 4, i = piece / (rows / 8) * 4 + lane % 4;
    if (i < SIZE) tile[i * pitch + row] = first + row < count ? (float)row_at(first + row)[i] : 0.0f;
  }
}

extern "C" __global__ void __launch_bounds__(256) kernel(PARAMETERS) {
  begin();
  extern __shared__ __align__(16) float shared[];
  float* const queries = shared;                    // [SIZE][PITCH_Q]
  float* const keys = queries + SIZE * PITCH_Q;     // [SIZE][PITCH_K]
  float* const weights = keys + SIZE * PITCH_K;     // [BLOCK][PITCH_P]
  float* const values = weights + BLOCK * PITCH_P;  // [BLOCK][V_SIZE], and what the last column reads beyond it
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16, head = blockIdx.y, batch = blockIdx.z;
  const int query0 = blockIdx.x * ROWS;
  load_columns<ROWS, PITCH_Q>(queries, query0, QUERIES, [&](int i) { return q_row(ARGUMENTS, batch, head, i); });

  int seen[RUN];
#pragma unroll
  for (int r = 0; r < RUN; ++r) {
    const int query = query0 + ty * RUN + r;
    seen[r] = keys_seen(ARGUMENTS, batch, query < QUERIES ? query : QUERIES - 1);
  }
  const int last = query0 + ROWS - 1;
  const int blocks = (keys_seen(ARGUMENTS, batch, last < QUERIES ? last : QUERIES - 1) + BLOCK - 1) / BLOCK;

  float largest[RUN], sum[RUN], out[RUN][COLUMNS];
#pragma unroll
  for (int r = 0; r < RUN; ++r) {
    largest[r] = -INF;
    sum[r] = 0;
#pragma unroll
    for (int c = 0; c < COLUMNS; ++c) out[r][c] = 0;
  }
  for (int block = 0; block < blocks; ++block) {
    const int key0 = block * BLOCK;
    __syncthreads();
    load_columns<BLOCK, PITCH_K>(keys, key0, KEYS, [&](int i) { return k_row(ARGUMENTS, batch, head, i); });
    for (int i = threadIdx.x; i < BLOCK * V_SIZE; i += 256) {
      const int key = key0 + i / V_SIZE;
      values[i] = key < KEYS ? (float)v_row(ARGUMENTS, batch, head, key)[i % V_SIZE] : 0.0f;
    }
    __syncthreads();

    float scores[RUN][KEYS_OF_THREAD] = {};
#pragma unroll 8
    for (int i = 0; i < SIZE; ++i) {
      const Queries q = *(const Queries*)(queries + i * PITCH_Q + ty * RUN);
#pragma unroll
      for (int j = 0; j < KEYS_OF_THREAD; ++j) {
        const float k = keys[i * PITCH_K + tx + 16 * j];
#pragma unroll
        for (int r = 0; r < RUN; ++r) scores[r][j] = fmaf(q.v[r], k, scores[r][j]);
      }
    }

    Queries weight[KEYS_OF_THREAD];
#pragma unroll
    for (int r = 0; r < RUN; ++r) {
      const int query = query0 + ty * RUN + r;
      float top = largest[r];
#pragma unroll
      for (int j = 0; j < KEYS_OF_THREAD; ++j) {
        const int key = key0 + tx + 16 * j;
        float& score = scores[r][j];
        score = key < seen[r] && query < QUERIES ? adjusted(ARGUMENTS, score, batch, head, query, key) : -INF;
        top = fmaxf(top, score);
      }
#pragma unroll
      for (int offset = 8; offset > 0; offset /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, offset));
      const float base = base_of(top), shrink = expf(largest[r] - base);
      largest[r] = top;
      sum[r] *= shrink;
#pragma unroll
      for (int c = 0; c < COLUMNS; ++c) out[r][c] *= shrink;
#pragma unroll
      for (int j = 0; j < KEYS_OF_THREAD; ++j) {
        weight[j].v[r] = expf(scores[r][j] - base);
        sum[r] += weight[j].v[r];
      }
    }
#pragma unroll
    for (int j = 0; j < KEYS_OF_THREAD; ++j) *(Queries*)(weights + (tx + 16 * j) * PITCH_P + ty * RUN) = weight[j];
    __syncwarp();  // the weights of a query are those of half a warp

#pragma unroll 8
    for (int key = 0; key < BLOCK; ++key) {
      const Queries p = *(const Queries*)(weights + key * PITCH_P + ty * RUN);
#pragma unroll
      for (int c = 0; c < COLUMNS; ++c) {
        const float v = values[key * V_SIZE + tx + 16 * c];
#pragma unroll
        for (int r = 0; r < RUN; ++r) out[r][c] = fmaf(p.v[r], v, out[r][c]);
      }
    }
  }

#pragma unroll
  for (int r = 0; r < RUN; ++r) {
    float total = sum[r];
#pragma unroll
    for (int offset = 8; offset > 0; offset /= 2) total += __shfl_xor_sync(0xffffffffu, total, offset);
    const int query = query0 + ty * RUN + r;
    if (query >= QUERIES) continue;
    auto* const result = y_row(ARGUMENTS, batch, head, query);
    // Zeros of a query that sees no keys stay zeros.
    const float factor = total == 0 ? 0.0f : 1 / total;
#pragma unroll
    for (int c = 0; c < COLUMNS; ++c)
      if (tx + 16 * c < V_SIZE) result[tx + 16 * c] = (Y)finished(out[r][c] * factor);
  }
}
