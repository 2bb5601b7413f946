// A convolution with steps of 1 whose filter's weights stay in shared memory, on the tensor cores of compute capability
// 9.0. A tile's part of the image comes once, with all that its windows reach: GRID_H rows of 16 pixels, whose channels
// are CHUNKS of ROW_BYTES. Each tap is the same matrix, begun some pixels later, so that no pixel comes again for
// another tap; sums of e4m3 are added up in float tap by tap. A tile has 64 rows: 4 of the image, of 16 pixels, of
// which the last KW - 1 are computed in vain. Each of GROUPS groups of 4 warps takes tiles of its own and has two
// places for them; one warp asks for all.
//
// Around it, and warpgroup.cuh, the source defines OH (by M, where ONE_IMAGE is 1: all pixels are one image's), OW, KH,
// KW, PAD_TOP, PAD_LEFT, CHUNKS, GROUPS and `multiply(Sum (&)[TILE_N / 2], u64 a, u64 b, bool add)`.
#define CONSUMERS (128 * GROUPS)
#define GRID_H (4 + KH - 1)
#define GRID_BYTES (GRID_H * 16 * ROW_BYTES)
#define CHUNK_BYTES ((GRID_BYTES + (KW - 1) * ROW_BYTES + 1023) / 1024 * 1024)
#define PLACE_BYTES (CHUNKS * CHUNK_BYTES)
#define TAPS (KH * KW * CHUNKS)
#define TAP_BYTES (TILE_N * ROW_BYTES)
#define WIDTH (16 - (KW - 1))
#define CHANNELS (ROW_BYTES / (int)sizeof(A))
#define TILES_W ((OW + WIDTH - 1) / WIDTH)
#define TILES_N ((N + TILE_N - 1) / TILE_N)
#define PLACES (2 * GROUPS)

struct Tile {
  int n, h, w;
};

// Tile t, where an image has `tiles_h` rows of them.
__device__ inline Tile tile_of(int t, int tiles_h) {
  const int row = t / TILES_W, n = ONE_IMAGE ? 0 : row / tiles_h;
  return {n, (row - n * tiles_h) * 4, (t - row * TILES_W) * WIDTH};
}

extern "C" __global__ void __launch_bounds__(CONSUMERS + 32)
    kernel(const __grid_constant__ TensorMap image, const __grid_constant__ TensorMap filter, PARAMETERS) {
  extern __shared__ unsigned char unaligned[];
  unsigned char* const shared = unaligned + (-to_shared(unaligned) & 1023);
  const unsigned taps = to_shared(shared), places = taps + TAPS * TAP_BYTES;
  const unsigned weights_here = places + PLACES * PLACE_BYTES, full = weights_here + 8, empty = full + 8 * PLACES;
  Sum* const staging = (Sum*)(shared + TAPS * TAP_BYTES + PLACES * PLACE_BYTES + 16 * PLACES + 16);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, n0 = blockIdx.x % TILES_N * TILE_N;
  // Of the blocks for the same columns.
  const int first = blockIdx.x / TILES_N, stride = (gridDim.x - blockIdx.x % TILES_N + TILES_N - 1) / TILES_N;
  if (threadIdx.x == 0) {
    prefetch(image);
    prefetch(filter);
    barrier_init(weights_here, 1);
    for (int p = 0; p < PLACES; ++p) {
      barrier_init(full + 8 * p, 1);
      barrier_init(empty + 8 * p, 1);
    }
    asm volatile("fence.mbarrier_init.release.cluster;");
  }
  __syncthreads();
  const int tiles_h = (OH + 3) / 4, tiles = (ONE_IMAGE ? 1 : M / (OH * OW)) * tiles_h * TILES_W;

  if (warp == CONSUMERS / 32) {
    if (lane == 0) {
      barrier_expect(weights_here, TAPS * TAP_BYTES);
      for (int tap = 0; tap < TAPS; ++tap)
        asm volatile(
            "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
            "[%2];" ::"r"(taps + tap * TAP_BYTES),
            "l"(&filter), "r"(weights_here), "r"(tap / (KH * KW) * CHANNELS), "r"(tap % (KH * KW)), "r"(n0)
            : "memory");
      asm volatile("griddepcontrol.wait;" ::: "memory");
      for (int t = first, i = 0; t < tiles; t += stride, ++i) {
        const int place = i % GROUPS * 2 + i / GROUPS % 2, round = i / PLACES;
        barrier_wait(empty + 8 * place, (round & 1) ^ 1);
        barrier_expect(full + 8 * place, CHUNKS * GRID_BYTES);
        const Tile tile = tile_of(t, tiles_h);
        for (int chunk = 0; chunk < CHUNKS; ++chunk)
          asm volatile(
              "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, "
              "%6}], "
              "[%2];" ::"r"(places + place * PLACE_BYTES + chunk * CHUNK_BYTES),
              "l"(&image), "r"(full + 8 * place), "r"(chunk * CHANNELS), "r"(tile.w - PAD_LEFT),
              "r"(tile.h - PAD_TOP), "r"(tile.n)
              : "memory");
      }
      asm volatile("griddepcontrol.launch_dependents;");
    }
    return;
  }
  const int group = warp / 4, row0 = warp % 4 * 16;
  Sum* const staged = staging + warp * 16 * STAGED_PITCH;
  asm volatile("griddepcontrol.wait;" ::: "memory");
  barrier_wait(weights_here, 0);
  for (int i = group, t = first + group * stride; t < tiles; i += GROUPS, t += GROUPS * stride) {
    const Tile tile = tile_of(t, tiles_h);
    const int oh = tile.h + row0 / 16;
    const auto m_of = [&](int row) {
      return row < WIDTH && tile.w + row < OW && oh < OH ? (tile.n * OH + oh) * OW + tile.w + row : -1;
    };
    Operands operands[RUNS_A_LANE];
    Columns columns;
    fetch(ARGUMENTS, 0, n0, m_of, operands, columns);
    const int place = group * 2 + i / GROUPS % 2;
    Sum sums[TILE_N / 2], parts[TILE_N / 2];
    Sum(&products)[TILE_N / 2] = promotes<A> ? parts : sums;
    if (promotes<A>) {
#pragma unroll
      for (int j = 0; j < TILE_N / 2; ++j) sums[j] = 0;
    }
    barrier_wait(full + 8 * place, i / PLACES & 1);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int tap = 0; tap < TAPS; ++tap) {
      const int chunk = tap / (KH * KW), down = tap / KW % KH, across = tap % KW;
      const u64 a = operand(places + place * PLACE_BYTES + chunk * CHUNK_BYTES + (down * 16 + across) * ROW_BYTES);
      const u64 b = operand(taps + tap * TAP_BYTES);
      multiply(products, a, b, tap > 0 && !promotes<A>);
      if (promotes<A>) {
        asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
        for (int j = 0; j < TILE_N / 2; ++j) sums[j] += parts[j];
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
      }
    }
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
    if (threadIdx.x % 128 == 0) barrier_arrive(empty + 8 * place);
    bring_out(ARGUMENTS, 0, n0, m_of, staged, sums, operands, columns);
  }
}
