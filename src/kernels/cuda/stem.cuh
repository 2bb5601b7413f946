// A convolution of up to 4 channels that steps by 2 across, as an image's first one does, on the tensor cores of
// compute capability 9.0, and where POOL is 1 the maxima of 3 x 3 of its results, 2 apart. Pixels lie in shared memory
// in fours of channels; their fragments go from there to registers, so that no patch is ever stored. A step makes two
// rows of results: a warp 16 columns of each. Where they are pooled, those are 8 places of the next image, the first of
// which only lends its right column, and what a step's second row adds to the next step's maxima stays in registers.
//
// Around it the source defines N, PARAMETERS, the last of which are `int M, int steps` (of a block), ARGUMENTS, RUN
// (2), CIN, H, W, OH, OW, KH, KW, STRIDE_H, PAD_TOP, PAD_LEFT, X (the image's type), T (the result's), A and Sum (see
// wgmma.cuh), POOL, RISING (where 1, no result falls as its sum grows), LOWEST (of what maxima are taken of), RING
// (rows of the image that are held, a power of two), ROWS and COLUMNS (of y), WARPS (of a block), `X raw_at(const X* x,
// int n, int h, int w, int c)`, `A element_of(X)`, `multiply(Sum (&)[N / 2], unsigned, unsigned, unsigned, unsigned,
// u64 b, bool add)` with A in registers, and what AnchorView::store does.
#define THREADS (32 * WARPS)
// Pixels next to each other are read in pairs, 4 lanes a pair each; k is the filter's pairs, row after row.
#define PAIRS_W ((KW + 1) / 2)
#define PAIRS (KH * PAIRS_W)
#define GROUPS ((PAIRS + 3) / 4)
#define STEPS_A_GROUP ((int)sizeof(A))
#define PLACES_A_WARP (POOL ? 7 : 16)
#define RESULTS_W (POOL ? 2 * (WARPS * 7 + 1) : WARPS * 16)
#define IMAGE_W (2 * (RESULTS_W - 1) + 2 * PAIRS_W)
#define NEW_ROWS (2 * STRIDE_H)
#define USED_ROWS (KH + STRIDE_H)
#define PIXELS ((NEW_ROWS * IMAGE_W + THREADS - 1) / THREADS)
// Of the first rows, as many at once as registers hold.
#define FIRST_PIXELS (USED_ROWS * IMAGE_W > 12 * THREADS ? 12 : (USED_ROWS * IMAGE_W + THREADS - 1) / THREADS)
#define WEIGHT_BYTES (GROUPS * STEPS_A_GROUP * N * 32)
#define IMAGE_BYTES ((RING * IMAGE_W * 4 * (int)sizeof(A) + 15) / 16 * 16)
#define STAGED_PITCH (N + 16 / (int)sizeof(T))

struct __align__(4 * sizeof(A)) Pixel {
  A channels[4];
};
union __align__(8 * sizeof(A)) Pair {
  Pixel pixels[2];
  unsigned words[2 * sizeof(A)];
};

#if RISING
typedef Sum Pooled;
#else
typedef Result Pooled;
#endif

__device__ inline int larger(int a, int b) { return a > b ? a : b; }
__device__ inline float larger(float a, float b) { return most(a, b); }

extern "C" __global__ void __launch_bounds__(THREADS, 2) kernel(PARAMETERS) {
  extern __shared__ __align__(128) unsigned char shared[];
  Pixel* const image = (Pixel*)(shared + WEIGHT_BYTES);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, quad = lane / 4, q = lane % 4;
  T* const staged = (T*)(shared + WEIGHT_BYTES + IMAGE_BYTES) + warp * 16 * STAGED_PITCH;
  for (int i = threadIdx.x; i < WEIGHT_BYTES / 16; i += THREADS) ((uint4*)shared)[i] = ((const uint4*)w)[i];
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  begin();

  const int n = blockIdx.z, first = blockIdx.y * steps, last = min(first + steps, POOL ? ROWS : (ROWS + 1) / 2);
  // The step ahead gives the row above.
  const int from = POOL && first > 0 ? first - 1 : first;
  const int column0 = blockIdx.x * PLACES_A_WARP * WARPS * (POOL ? 2 : 1) - (POOL ? 2 : 0);
  const int h0 = 2 * from * STRIDE_H - PAD_TOP, w0 = 2 * column0 - PAD_LEFT;
  const auto inside = [&](int row, int column) {
    return h0 + row >= 0 && h0 + row < H && w0 + column >= 0 && w0 + column < W;
  };
  // Rows of the image from `row` on, counted from h0: read, and later put in their places of the ring.
  const auto read = [&](X(*raw)[CIN], int pixels, int row, int i0, int rows) {
#pragma unroll
    for (int p = 0; p < pixels; ++p) {
      const int i = i0 + p * THREADS + threadIdx.x, r = row + i / IMAGE_W, c = i % IMAGE_W;
      if (i >= rows * IMAGE_W || !inside(r, c)) continue;
#pragma unroll
      for (int channel = 0; channel < CIN; ++channel) raw[p][channel] = raw_at(x, n, h0 + r, w0 + c, channel);
    }
  };
  const auto put = [&](const X(*raw)[CIN], int pixels, int row, int i0, int rows) {
#pragma unroll
    for (int p = 0; p < pixels; ++p) {
      const int i = i0 + p * THREADS + threadIdx.x, r = row + i / IMAGE_W, c = i % IMAGE_W;
      if (i >= rows * IMAGE_W) continue;
      Pixel pixel;
#pragma unroll
      for (int channel = 0; channel < 4; ++channel) pixel.channels[channel] = (A)0.0f;
      if (inside(r, c))
#pragma unroll
        for (int channel = 0; channel < CIN; ++channel) pixel.channels[channel] = element_of(raw[p][channel]);
      image[(r & (RING - 1)) * IMAGE_W + c] = pixel;
    }
  };
  for (int i0 = 0; i0 < USED_ROWS * IMAGE_W; i0 += FIRST_PIXELS * THREADS) {
    X raw[FIRST_PIXELS][CIN];
    read(raw, FIRST_PIXELS, 0, i0, USED_ROWS);
    put(raw, FIRST_PIXELS, 0, i0, USED_ROWS);
  }
  __syncthreads();

  const int place = warp * PLACES_A_WARP + quad;
  // A lane's columns among those of the block.
  const int columns[2] = {POOL ? 2 * place : place, POOL ? 2 * place + 1 : place + 8};
  const unsigned weights = (unsigned)__cvta_generic_to_shared(shared);
  // What the warp has staged of a row of y, from a column on.
  const auto write = [&](int row, int p0, int column, int count) {
    constexpr int kRun = 16 / sizeof(T);
    __syncwarp();
    for (int i = lane + p0 * (N / kRun); i < count * (N / kRun); i += 32) {
      const int p = i / (N / kRun), c = i % (N / kRun) * kRun;
      if (row < ROWS && column + p < COLUMNS)
        *(uint4*)(y + (((i64)n * ROWS + row) * COLUMNS + column + p) * N + c) =
            *(const uint4*)(staged + p * STAGED_PITCH + c);
    }
    __syncwarp();
  };
#if POOL
  const auto off = [&](int column) { return column0 + column < 0 || column0 + column >= OW; };
  const bool outside_w[2] = {off(columns[0]), off(columns[1])};
  Pooled above[N / 8][2];
#pragma unroll
  for (int j = 0; j < N / 8; ++j) above[j][0] = above[j][1] = LOWEST;
#endif

  for (int step = from; step < last; ++step) {
    const int row0 = (step - from) * NEW_ROWS;
    X raw[PIXELS][CIN];
    if (step + 1 < last) read(raw, PIXELS, row0 + USED_ROWS, 0, NEW_ROWS);
    Sum sums[2][N / 2];
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int dy = 0; dy < 2; ++dy) {
      if (POOL && dy == 0 && step < first) continue;  // only its second row counts
#pragma unroll
      for (int g = 0; g < GROUPS; ++g) {
        const int pair = min(g * 4 + q, PAIRS - 1), ky = pair / PAIRS_W, kx = pair % PAIRS_W * 2;
        const Pixel* const row = image + ((row0 + dy * STRIDE_H + ky) & (RING - 1)) * IMAGE_W + kx;
        Pair a[2];
#pragma unroll
        for (int dx = 0; dx < 2; ++dx) a[dx] = *(const Pair*)(row + 2 * columns[dx]);
#pragma unroll
        for (int s = 0; s < STEPS_A_GROUP; ++s) {
          const unsigned at = weights + (g * STEPS_A_GROUP + s) * N * 32;
          // 8 x 16 bytes lie together: first those of more columns, then those of more k.
          const u64 b = (u64)((at & 0x3ffff) >> 4) | (u64)(N * 16 >> 4) << 16 | (u64)(128 >> 4) << 32;
          multiply(sums[dy], a[0].words[2 * s], a[1].words[2 * s], a[0].words[2 * s + 1], a[1].words[2 * s + 1], b,
                   g + s > 0);
        }
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
      }
    }
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");

#if POOL
    const bool outside[2][2] = {{2 * step >= OH || outside_w[0], 2 * step >= OH || outside_w[1]},
                                {2 * step + 1 >= OH || outside_w[0], 2 * step + 1 >= OH || outside_w[1]}};
    const bool at_edge = __any_sync(0xffffffff, outside[0][0] || outside[0][1] || outside[1][0] || outside[1][1]);
#if RISING
    if (at_edge) {
#pragma unroll
      for (int i = 0; i < N; ++i)
        if (outside[i / (N / 2)][i / 2 % 2]) sums[i / (N / 2)][i % (N / 2)] = LOWEST;
    }
#endif
#pragma unroll
    for (int j = 0; j < N / 8; ++j) {
      const Columns operands = columns_at(ARGUMENTS, j * 8 + q * 2);
      Pooled rows[2][2];
#pragma unroll
      for (int dy = 0; dy < 2; ++dy) {
        Pooled values[2][2];
#pragma unroll
        for (int dx = 0; dx < 2; ++dx) {
          const Sum pair[2] = {sums[dy][j * 4 + dx * 2], sums[dy][j * 4 + dx * 2 + 1]};
#if RISING
          values[dx][0] = pair[0], values[dx][1] = pair[1];
#else
          results_of(ARGUMENTS, 0, Operands{}, operands, pair, values[dx]);
          if (at_edge && outside[dy][dx]) values[dx][0] = values[dx][1] = LOWEST;
#endif
        }
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const Pooled left = __shfl_up_sync(0xffffffff, values[1][e], 4);
          rows[dy][e] = larger(larger(left, values[0][e]), values[1][e]);
        }
      }
      Pooled maxima[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        maxima[e] = larger(larger(above[j][e], rows[0][e]), rows[1][e]);
        above[j][e] = rows[1][e];
      }
#if RISING
      Result results[2];
      results_of(ARGUMENTS, 0, Operands{}, operands, maxima, results);
      store_run(staged + quad * STAGED_PITCH + j * 8 + q * 2, results);
#else
      store_run(staged + quad * STAGED_PITCH + j * 8 + q * 2, maxima);
#endif
    }
    if (step >= first) write(step, 1, blockIdx.x * 7 * WARPS + warp * 7 - 1, 8);
#else
#pragma unroll
    for (int dy = 0; dy < 2; ++dy) {
#pragma unroll
      for (int j = 0; j < N / 8; ++j) {
        const Columns operands = columns_at(ARGUMENTS, j * 8 + q * 2);
#pragma unroll
        for (int dx = 0; dx < 2; ++dx) {
          const Sum pair[2] = {sums[dy][j * 4 + dx * 2], sums[dy][j * 4 + dx * 2 + 1]};
          Result results[2];
          results_of(ARGUMENTS, 0, Operands{}, operands, pair, results);
          store_run(staged + (quad + dx * 8) * STAGED_PITCH + j * 8 + q * 2, results);
        }
      }
      write(2 * step + dy, 0, column0 + warp * 16, 16);
    }
#endif
    if (step + 1 < last) put(raw, PIXELS, row0 + USED_ROWS, 0, NEW_ROWS);
    __syncthreads();
  }
}
