// The last layer of a residual block (bottleneck.cuh) of 16-bit floats: a product of pixels x channels, in parts of
// TILE_N channels. The order of its rows of weights gives a thread 8 neighbouring channels, which go straight to
// memory. What is added, unless a shortcut makes it, is read again.
#define PARAMETERS A* __restrict__ y, const A* __restrict__ x
#define ARGUMENTS y, x
#define KEEPS_INPUT SHORTCUT

template <class InputAt, class Release>
__device__ inline void last_layer(const Here& here, const Tile& tile, int, const InputAt& input_at,
                                  const Release& release, PARAMETERS) {
  constexpr int kParts = (RESULTS + 63) / 64 * (COUT / TILE_N);
  const int warp = threadIdx.x / 32 % 4, quad = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
#pragma unroll 1
  for (int part = 0; part < kParts; ++part) {
    const int m = part / (COUT / TILE_N), c0 = part % (COUT / TILE_N) * TILE_N + q * 8;
    i64 at[2];  // of a thread's two pixels
    bool stored[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = m * 4 + warp, column = quad + half * 8;
      stored[half] = row < TILE_H && column < WIDTH && tile.h0 + row < H && tile.w0 + column < W;
      at[half] = (((i64)tile.n * H + tile.h0 + row) * W + tile.w0 + column) * COUT + c0;
    }
#if SHORTCUT
    Sum sides[TILE_N / 2];
#else
    Run<A, 8> others[TILE_N / 32][2];
#pragma unroll
    for (int g = 0; g < TILE_N / 32; ++g)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        if (stored[half]) others[g][half] = load_run<8>(x + at[half] + g * 32);
#endif
    Sum sums[TILE_N / 2];
    const unsigned rows = part % (COUT / TILE_N) * TILE_N * ROW_BYTES;
    const u64 a = operand_of<ROW_BYTES>(here.between + m * MATRIX_BYTES), b = operand_of<ROW_BYTES>(here.last + rows);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    multiply(sums, a, b, false);
#if SHORTCUT
    const u64 side_a = operand_of<ROW_BYTES>(input_at(0) + m * MATRIX_BYTES + INSIDE * ROW_BYTES),
              side_b = operand_of<ROW_BYTES>(here.shortcut + rows);
    multiply(sides, side_a, side_b, false);
#endif
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
    if (SHORTCUT && part + 1 == kParts) release(0);
#pragma unroll
    for (int g = 0; g < TILE_N / 32; ++g) {
      Run<float, 8> columns[1 + SHORTCUT][COLUMNS];
#pragma unroll
      for (int side = 0; side <= SHORTCUT; ++side)
#pragma unroll
        for (int k = 0; k < COLUMNS; ++k)
          columns[side][k] = load_run<8>(here.columns + (side * COLUMNS + k) * COUT + c0 + g * 32);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float results[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const int at_sum = (g * 4 + j / 2) * 4 + half * 2 + j % 2;
          float own[1 + SHORTCUT][COLUMNS];
#pragma unroll
          for (int side = 0; side <= SHORTCUT; ++side)
#pragma unroll
            for (int k = 0; k < COLUMNS; ++k) own[side][k] = columns[side][k].v[j];
#if SHORTCUT
          results[j] = last_of(sums[at_sum], own[0], sides[at_sum], own[1]);
#else
          results[j] = last_of(sums[at_sum], own[0], others[g][half].v[j]);
#endif
        }
        if (stored[half]) store_run(y + at[half] + g * 32, results);
      }
    }
  }
}
