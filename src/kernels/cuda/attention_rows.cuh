// The softmax of the scores that tensor cores leave in a thread's registers: scores[4 j + 2 half + e] is that of `query
// + 8 half` and of key 8 j + 2 (lane % 4) + e of a block of keys. The blocks pass by while each row's maximum and sum
// are kept (Dao, FlashAttention-2, 2023). Scores stay as they are until the exponential, which takes FACTOR in.
#define LOG2E 1.44269504f
#define FACTOR (ADJUSTED ? LOG2E : SCALE * LOG2E)

struct Rows {
  float largest[2] = {-INF, -INF}, sum[2] = {0, 0};  // the sum of this thread's part of the row
};

// What is subtracted ahead of the exponential; a row that is all masked so far gets zeros.
__device__ inline float base_of(float largest) { return largest == -INF ? 0.0f : largest * FACTOR; }

__device__ inline float weight(float score, float base) { return power_of_2(fmaf(score, FACTOR, -base)); }

// Scale, cap and mask where they are more than a factor, and no key beyond those that a query sees.
template <int count>
__device__ inline void adjust(PARAMETERS, float (&scores)[count], int batch, int head, int query, int key0) {
  const int member = threadIdx.x % 4 * 2;
  int row[2], seen[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    row[half] = query + half * 8 < QUERIES ? query + half * 8 : QUERIES - 1;
    seen[half] = keys_seen(ARGUMENTS, batch, row[half]) - key0;
  }
  if (!ADJUSTED && seen[0] >= count * 2 && seen[1] >= count * 2) return;
#pragma unroll
  for (int i = 0; i < count; ++i) {
    const int key = i / 4 * 8 + member + i % 2, half = i / 2 % 2;
    if (key >= seen[half]) scores[i] = -INF;
    else if (ADJUSTED) scores[i] = adjusted(ARGUMENTS, scores[i], batch, head, row[half], key0 + key);
  }
}

// Takes the maxima of a block in; what was added up before shrinks by the factors that are returned.
template <int count>
__device__ inline Run<float, 2> raise(Rows& rows, const float (&scores)[count]) {
  Run<float, 2> shrink;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = rows.largest[half];
#pragma unroll
    for (int i = half * 2; i < count; i += 4) top = fmaxf(top, fmaxf(scores[i], scores[i + 1]));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    shrink.v[half] = weight(rows.largest[half], base_of(top));
    rows.largest[half] = top;
    rows.sum[half] *= shrink.v[half];
  }
  return shrink;
}

// The weights of 16 keys, as the left operand of a product.
template <int count>
__device__ inline void weigh(Rows& rows, const float (&scores)[count], int first, unsigned (&weights)[4]) {
#pragma unroll
  for (int part = 0; part < 4; ++part) {
    const int half = part % 2;
    const float base = base_of(rows.largest[half]);
    const float low = weight(scores[first + part * 2], base), high = weight(scores[first + part * 2 + 1], base);
    rows.sum[half] += low + high;
    weights[part] = pair_of((A*)nullptr, low, high);
  }
}

// 1 / the row's sum; zeros of a query that sees no keys stay zeros.
__device__ inline float inverse_sum(const Rows& rows, int half) {
  float sum = rows.sum[half] + __shfl_xor_sync(0xffffffffu, rows.sum[half], 1);
  sum += __shfl_xor_sync(0xffffffffu, sum, 2);
  return sum == 0 ? 0 : 1 / sum;
}

// Two neighbouring results, written at once.
template <class T, class V>
__device__ inline void store_pair(T* to, V low, V high) {
  const V pair[2] = {low, high};
  store_run(to, pair);
}
__device__ inline void store_pair(signed char* to, int low, int high) {
  *(unsigned short*)to = __byte_perm(low, high, 0x0040);
}
__device__ inline void store_pair(e4m3* to, float low, float high) { *(unsigned short*)to = e4m3_pair(low, high); }
__device__ inline void store_results(Y* to, float low, float high) { store_pair(to, finished(low), finished(high)); }
