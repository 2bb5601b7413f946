// A convolution of few tiles, with steps of 1 or 2, on the tensor cores of compute capability 9.0. What a tile's
// windows reach of the image comes once, and the filter's weights go through a ring of STAGES, a tap's 128 bytes of k
// each. Of a block's channels each of WAYS groups of 4 warps has as many, and with SPLIT > 1 as many blocks of a
// cluster have a part each; sums of the same result are added in the order of blocks and groups. In the ring the
// groups' taps take turns. WAYS divides STAGES, so that a stage is one group's: it would not know a barrier two phases
// behind from one ahead.
//
// A tile is PIECE_H rows of an image, whose pixels lie PITCH apart from row to row, so that a tap is the same matrix
// begun some pixels later. Of an image that is read in steps of 2, even and odd rows and columns are boxes of their
// own.
//
// Around it, and warpgroup.cuh, the source defines OH, OW, KH, KW, STRIDE_H, STRIDE_W, PAD_TOP, PAD_LEFT, CHUNKS (of
// 128 bytes of a pixel, a block's), BOX_H (rows of a box), PIECE_BYTES (of shared memory, for a box) and `multiply(Sum
// (&)[TILE_N / 2], u64 a, u64 b, bool add)`.
#define CONSUMERS (128 * WAYS)
#define TAPS (KH * KW)
#define UNITS (CHUNKS * TAPS)
#define TAP_BYTES (TILE_N * ROW_BYTES)
#define TILE_K (ROW_BYTES / (int)sizeof(A))
#define PIECES_H ((OH + PIECE_H - 1) / PIECE_H)
#define TILES_N ((N + TILE_N - 1) / TILE_N)
#define BOXES (STRIDE_H * STRIDE_W)

extern "C" __global__ void __launch_bounds__(CONSUMERS + 32)
    kernel(const __grid_constant__ TensorMap image, const __grid_constant__ TensorMap filter, PARAMETERS) {
  extern __shared__ unsigned char unaligned[];
  unsigned char* const shared = unaligned + (-to_shared(unaligned) & 1023);
  const unsigned ring = to_shared(shared), boxes = ring + STAGES * TAP_BYTES;
  const unsigned full = boxes + CHUNKS * BOXES * PIECE_BYTES, empty = full + 8 * STAGES, here = empty + 8 * STAGES;
  const unsigned behind = (here + 8 * CHUNKS + 15) / 16 * 16;
  // Sums that are to be added take the place of the operands.
  constexpr bool kAdds = SPLIT * WAYS > 1;
  Sum* const staging = (Sum*)(kAdds ? shared : shared + (behind - ring));
  const int warp = threadIdx.x / 32, group = warp / 4;
  const int part = blockIdx.x % SPLIT, tile = blockIdx.x / SPLIT;
  const int n0 = tile % TILES_N * TILE_N, piece = tile / TILES_N;
  const int image_n = piece / PIECES_H, h0 = piece % PIECES_H * PIECE_H;
  if (threadIdx.x == 0) {
    prefetch(image);
    prefetch(filter);
    for (int s = 0; s < STAGES; ++s) {
      barrier_init(full + 8 * s, 1);
      barrier_init(empty + 8 * s, 1);
    }
    for (int c = 0; c < CHUNKS; ++c) barrier_init(here + 8 * c, 1);
    asm volatile("fence.mbarrier_init.release.cluster;");
  }
  __syncthreads();
  // The result's row for a row of the product; negative where it has none.
  const auto m_of_row = [&](int row) {
    const int h = h0 + row / PITCH, w_ = row % PITCH;
    return row < PIECE_H * PITCH && w_ < OW && h < OH ? (image_n * OH + h) * OW + w_ : -1;
  };

  if (warp == CONSUMERS / 32) {
    if (threadIdx.x == CONSUMERS) {
      const auto load_taps = [&](int unit) {
        const int stage = unit % STAGES, chunk = unit / (WAYS * TAPS) * WAYS + unit % WAYS;
        barrier_expect(full + 8 * stage, TAP_BYTES);
        asm volatile(
            "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
            "[%2];" ::"r"(ring + stage * TAP_BYTES),
            "l"(&filter), "r"(full + 8 * stage), "r"((part * CHUNKS + chunk) * TILE_K), "r"(unit / WAYS % TAPS), "r"(n0)
            : "memory");
      };
      // Weights do not depend on the launch ahead.
      int unit = 0;
      for (; unit < UNITS && unit < STAGES; ++unit) load_taps(unit);
      asm volatile("griddepcontrol.wait;" ::: "memory");
      for (int chunk = 0; chunk < CHUNKS; ++chunk) {
        barrier_expect(here + 8 * chunk, BOXES * BOX_H * PITCH * ROW_BYTES);
        for (int b = 0; b < BOXES; ++b)
          asm volatile(
              "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, "
              "%6}], [%2];" ::"r"(boxes + (chunk * BOXES + b) * PIECE_BYTES),
              "l"(&image), "r"(here + 8 * chunk), "r"((part * CHUNKS + chunk) * TILE_K), "r"(b % STRIDE_W - PAD_LEFT),
              "r"(h0 * STRIDE_H + b / STRIDE_W - PAD_TOP), "r"(image_n)
              : "memory");
      }
      for (; unit < UNITS; ++unit) {
        barrier_wait(empty + 8 * (unit % STAGES), (unit / STAGES & 1) ^ 1);
        load_taps(unit);
      }
      asm volatile("griddepcontrol.launch_dependents;");
    }
  } else {
    asm volatile("griddepcontrol.wait;" ::: "memory");
    const auto m_of = [&](int row) { return m_of_row(warp % 4 * 16 + row); };
    Operands operands[RUNS_A_LANE];
    Columns columns;
    if (!kAdds) fetch(ARGUMENTS, 0, n0, m_of, operands, columns);
    Sum sums[TILE_N / 2];
    int unit = group;
    for (int chunk = group; chunk < CHUNKS; chunk += WAYS) {
      barrier_wait(here + 8 * chunk, 0);
#pragma unroll
      for (int tap = 0; tap < TAPS; ++tap, unit += WAYS) {
        const int stage = unit % STAGES, r = tap / KW, s = tap % KW;
        barrier_wait(full + 8 * stage, unit / STAGES & 1);
        const u64 a = operand(boxes + (chunk * BOXES + r % STRIDE_H * STRIDE_W + s % STRIDE_W) * PIECE_BYTES +
                              (r / STRIDE_H * PITCH + s / STRIDE_W) * ROW_BYTES);
        const u64 b = operand(ring + stage * TAP_BYTES);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
        multiply(sums, a, b, unit >= WAYS);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
        if (unit >= WAYS && threadIdx.x % 128 == 0) barrier_arrive(empty + 8 * ((unit - WAYS) % STAGES));
      }
    }
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    if (kAdds) {
      asm volatile("bar.sync 1, %0;" ::"n"(CONSUMERS) : "memory");
      stage(staging + warp * 16 * STAGED_PITCH, sums, 0);
      if (SPLIT == 1) asm volatile("bar.sync 1, %0;" ::"n"(CONSUMERS) : "memory");
    } else {
      bring_out(ARGUMENTS, 0, n0, m_of, staging + warp * 16 * STAGED_PITCH, sums, operands, columns);
    }
  }
#if SPLIT * WAYS > 1
  if (SPLIT > 1) cluster_barrier();
  if (warp < CONSUMERS / 32)
    for (int e = part * CONSUMERS + threadIdx.x; e < 64 * TILE_N / RUN; e += SPLIT * CONSUMERS) {
      const int row = e / (TILE_N / RUN), column = e % (TILE_N / RUN) * RUN, m = m_of_row(row), n = n0 + column;
      if (m < 0 || n >= N) continue;
      Sum sums[RUN] = {};
#pragma unroll
      for (int from = 0; from < SPLIT * WAYS; ++from)
#pragma unroll
        for (int j = 0; j < RUN; j += 4) {
          const Sum* const at = staging + from % WAYS * 64 * STAGED_PITCH + staged_at(row, column + j);
          const auto four = SPLIT > 1 ? read_from(to_shared(at), from / WAYS) : load_run<4>(at);
#pragma unroll
          for (int e = 0; e < 4; ++e) sums[j + e] += four.v[e];
        }
      store(ARGUMENTS, 0, m, n, sums);
    }
  if (SPLIT > 1) cluster_barrier();  // until all have read what others hold for them
#endif
}
