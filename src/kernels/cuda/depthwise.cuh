// A depthwise convolution of 16-bit elements on tensor cores (compute capability 8.0 on). A block brings RUNS
// neighbouring runs of 8 channels of all that TILE_H x TILE_W results are made of to shared memory, at once and with
// zeros outside of the image. A warp makes results of one run of channels: ROWS rows of two strips of 8 pixels, the
// rows of a product for each of the image's rows, whose k is two taps of the 8 channels. The filter is a matrix with
// zeros beside its diagonals: as most of it is in vain, so few instructions are left that it is faster.
//
// Around it the source defines T, Sum (float), RUN (2), M, N, PARAMETERS, ARGUMENTS, what ConvGeometry::defines() does,
// and `store`.
#define IN_H ((TILE_H - 1) * STRIDE_H + (KH - 1) * DILATION_H + 1)
#define IN_W ((TILE_W - 1) * STRIDE_W + (KW - 1) * DILATION_W + 1)
#define STRIPS (TILE_W / 8 * (TILE_H / ROWS))
#define WARPS (RUNS * STRIPS / 2)
#define THREADS (32 * WARPS)
#define PAIRS ((KW + 1) / 2)
#define TILES_H ((OH + TILE_H - 1) / TILE_H)
#define TILES_W ((OW + TILE_W - 1) / TILE_W)
// Of pixels, in runs: an odd number, so that 8 neighbouring ones share no bank.
#define PITCH (RUNS | 1)

__device__ inline void multiply(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE
               ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

extern "C" __global__ void __launch_bounds__(THREADS) kernel(PARAMETERS) {
  extern __shared__ __align__(16) unsigned char shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, quad = lane / 4, q = lane % 4;
  const int c0 = blockIdx.x % (N / (8 * RUNS)) * (8 * RUNS), tile = blockIdx.x / (N / (8 * RUNS));
  const int q0 = tile % TILES_W * TILE_W, p0 = tile / TILES_W % TILES_H * TILE_H, n = tile / (TILES_W * TILES_H);
  const int run = warp % RUNS, c = c0 + run * 8;
  // A lane has column `quad` of the filter's matrices, and of their rows 2 * q, the next, and those 8 further on.
  unsigned filter[KH][PAIRS][2];
#pragma unroll
  for (int r = 0; r < KH; ++r)
#pragma unroll
    for (int s = 0; s < 2 * PAIRS; ++s) {
      const bool diagonal = quad / 2 == q && s < KW;
      filter[r][s / 2][s % 2] = diagonal ? (unsigned)w[(r * KW + s) * N + c + quad].bits << quad % 2 * 16 : 0;
    }
  begin();
#pragma unroll 4
  for (int i = threadIdx.x; i < IN_H * IN_W * RUNS; i += THREADS) {
    const int h = p0 * STRIDE_H - PAD_TOP + i / (RUNS * IN_W), w_ = q0 * STRIDE_W - PAD_LEFT + i / RUNS % IN_W;
    const bool inside = h >= 0 && h < H && w_ >= 0 && w_ < W;
    const T* const from = inside ? x + ((i64)(n * H + h) * W + w_) * CIN + c0 + i % RUNS * 8 : x;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(shared) +
                                                                       (i / RUNS * PITCH + i % RUNS) * 16),
                 "l"(from), "r"(inside ? 16 : 0)
                 : "memory");
  }
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncthreads();

  // Strips go across first; a warp's two are neighbours in their order.
  const auto row_of = [&](int strip) { return strip / (TILE_W / 8) * ROWS; };
  const auto column_of = [&](int strip) { return strip % (TILE_W / 8) * 8; };
  const int strips = warp / RUNS * 2, own = strips + lane / 8 % 2, second = lane / 16;
  const unsigned at = (unsigned)__cvta_generic_to_shared(shared) +
                      ((row_of(own) * STRIDE_H * IN_W + (column_of(own) + lane % 8) * STRIDE_W) * PITCH + run) * 16;
  float sums[ROWS][4] = {};
#pragma unroll
  for (int h = 0; h < (ROWS - 1) * STRIDE_H + (KH - 1) * DILATION_H + 1; ++h)
#pragma unroll
    for (int pair = 0; pair < PAIRS; ++pair) {
      // Where there is no second tap its weights are zeros: of what is read twice.
      const int taps = 2 * pair + (2 * pair + 1 < KW ? second : 0);
      unsigned a[4];
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                   : "r"(at + (h * IN_W + taps * DILATION_W) * (PITCH * 16)));
#pragma unroll
      for (int r = 0; r < KH; ++r) {
        const int above = h - r * DILATION_H;
        if (above >= 0 && above % STRIDE_H == 0 && above / STRIDE_H < ROWS)
          multiply(sums[above / STRIDE_H], a, filter[r][pair]);
      }
    }
#pragma unroll
  for (int row = 0; row < ROWS; ++row)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int p = p0 + row_of(strips + half) + row, column = q0 + column_of(strips + half) + quad;
      const float pair[2] = {sums[row][2 * half], sums[row][2 * half + 1]};
      if (p < OH && column < OW) store(ARGUMENTS, 0, (n * OH + p) * OW + column, c + 2 * q, pair);
    }
}
