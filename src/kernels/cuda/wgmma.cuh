// C = A * B on the tensor cores of compute capability 9.0. The operands' type A is f16, bf16, or float read as TF32,
// with sums (Sum) in float, signed char with sums in int, or e4m3, where those of a stage are added to the others in
// float. Boxes of both come by the tensor memory accelerator, in
// STAGES of 128 bytes of k, which one thread asks for; GROUPS of 4 warps multiply 64 rows each. Either all groups share
// a tile of 64 * GROUPS x TILE_N, or, with ALTERNATE, each takes tiles of 64 x TILE_N of its own, so that one stores
// its results while another multiplies. A block takes every gridDim.x-th tile. The CLUSTER blocks of a cluster have
// neighbouring rows of tiles, and each brings a part of B for all of them. With SPLIT > 1 a cluster of SPLIT blocks
// takes one tile instead, each a part of k, and the sums are added in order of the parts. REGISTERS, unless 0, are what
// a multiplying thread gets: those of a whole group that only asks for boxes are handed over.
//
// Around it, and warpgroup.cuh, the source defines M (or a parameter is, where BATCH is 1 and ROWS_FIRST is not), N,
// BATCH, TAPS (of a filter) and TAP_K (values of k for each), PARAMETERS, ARGUMENTS, `void load_a(const TensorMap&,
// unsigned barrier, unsigned address, i64 z, int m0, int tap, int k)`, B_BATCHED, B_CONSTANT, ROWS_FIRST (the order of
// tiles) and `multiply(Sum (&)[TILE_N / 2], u64 a, u64 b, bool add)` for ROW_BYTES of k.
#define GROUPS_A_TILE (ALTERNATE ? 1 : GROUPS)
#define TILE_M (64 * GROUPS_A_TILE)
#define TILE_K (ROW_BYTES / (int)sizeof(A))
#define CHUNKS ((TAP_K + TILE_K - 1) / TILE_K)
#define STEPS (TAPS * CHUNKS)
#define BYTES_A (TILE_M * ROW_BYTES)
#define BYTES_B (TILE_N * ROW_BYTES)
#define TILES_N ((N + TILE_N - 1) / TILE_N)
#define CONSUMERS (128 * GROUPS)
#define PRODUCERS (REGISTERS > 0 ? 128 : 32)
__device__ inline void barrier_arrive(unsigned barrier, int rank) {
  if (CLUSTER == 1) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
  } else {
    asm volatile(
        "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, "
        "%1;\nmbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n}" ::"r"(barrier),
        "r"(rank)
        : "memory");
  }
}

// Two groups take turns at the operands, in the order in which those come: a barrier's phases tell no further apart.
__device__ inline void await_turn(int turn) { asm volatile("bar.sync %0, 256;" ::"r"(2 + turn) : "memory"); }
__device__ inline void pass_turn(int turn) { asm volatile("bar.arrive %0, 256;" ::"r"(2 + turn) : "memory"); }

struct Tile {
  i64 z;
  int m0, n0;
};

// Tile t of the block with that rank in its cluster; `rows` of tiles are those of a cluster.
__device__ inline Tile tile_of(int t, int rank, int rows) {
  const int z = BATCH == 1 ? 0 : t / (rows * TILES_N), in_item = t - z * (rows * TILES_N);
  const int m = ROWS_FIRST ? in_item % rows : in_item / TILES_N, n = ROWS_FIRST ? in_item / rows : in_item % TILES_N;
  return {z, (m * CLUSTER + rank) * TILE_M, n * TILE_N};
}

extern "C" __global__ void __launch_bounds__(CONSUMERS + PRODUCERS, REGISTERS > 0)
    kernel(const __grid_constant__ TensorMap a_map, const __grid_constant__ TensorMap b_map, PARAMETERS) {
  extern __shared__ unsigned char unaligned[];
  unsigned char* const shared = unaligned + (-to_shared(unaligned) & 1023);
  const unsigned a_tiles = to_shared(shared), b_tiles = a_tiles + STAGES * BYTES_A;
  const unsigned full = b_tiles + STAGES * BYTES_B, empty = full + 8 * STAGES;
  // The parts of a split tile take the place of the operands.
  Sum* const staging = (Sum*)(SPLIT > 1 ? shared : shared + STAGES * (BYTES_A + BYTES_B) + 16 * STAGES);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    prefetch(a_map);
    prefetch(b_map);
    for (int s = 0; s < STAGES; ++s) {
      barrier_init(full + 8 * s, 1);
      barrier_init(empty + 8 * s, GROUPS_A_TILE * CLUSTER);
    }
    asm volatile("fence.mbarrier_init.release.cluster;");
  }
  __syncthreads();
  if (CLUSTER > 1) cluster_barrier();
  const int part = blockIdx.x % SPLIT, first_step = STEPS * part / SPLIT,
            steps = STEPS * (part + 1) / SPLIT - first_step;
  const int rank = blockIdx.x % CLUSTER, first = blockIdx.x / (SPLIT * CLUSTER), stride = gridDim.x / (SPLIT * CLUSTER);
  const int rows = (M + TILE_M * CLUSTER - 1) / (TILE_M * CLUSTER), tiles = rows * TILES_N * BATCH;

  if (warp >= CONSUMERS / 32) {
    if (REGISTERS > 0) asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(GROUPS == 2 ? 40 : 32));
    if (threadIdx.x == CONSUMERS) {
      // Constant weights lie by steps.
      const auto k_of = [](int step) { return B_CONSTANT ? 0 : step / CHUNKS * TAP_K + step % CHUNKS * TILE_K; };
      const auto n_of = [&](const Tile& tile) { return tile.n0 + rank * (TILE_N / CLUSTER); };
      const auto load_b = [&](const Tile& tile, int step, int stage) {
        const unsigned to = b_tiles + stage * BYTES_B + rank * (BYTES_B / CLUSTER);
        const int k = k_of(step), n = n_of(tile), z = B_CONSTANT ? step : B_BATCHED ? (int)tile.z : 0;
        if (CLUSTER == 1) {
          asm volatile(
              "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
              "[%2];" ::"r"(to),
              "l"(&b_map), "r"(full + 8 * stage), "r"(k), "r"(n), "r"(z)
              : "memory");
        } else {
          asm volatile(
              "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
              "[%1, {%3, %4, %5}], [%2], %6;" ::"r"(to),
              "l"(&b_map), "r"(full + 8 * stage), "r"(k), "r"(n), "r"(z), "h"((unsigned short)((1 << CLUSTER) - 1))
              : "memory");
        }
      };
      // Weights do not depend on the launch ahead.
      const int early = !B_CONSTANT ? 0 : steps < STAGES ? steps : STAGES;
      for (int i = 0; i < early; ++i) {
        barrier_expect(full + 8 * i, BYTES_A + BYTES_B);
        load_b(tile_of(first, rank, rows), first_step + i, i);
      }
      // Of few rows they are most of what is read, and likely not in the second-level cache: more of them is brought
      // there, but no more than A's first boxes can wait behind.
      if (B_CONSTANT && M <= 256)
        for (int i = early; i < steps && i < early + 8; ++i)
          asm volatile("cp.async.bulk.prefetch.tensor.3d.L2.global.tile [%0, {0, %1, %2}];" ::"l"(&b_map),
                       "r"(n_of(tile_of(first, rank, rows))), "r"(first_step + i)
                       : "memory");
      asm volatile("griddepcontrol.wait;" ::: "memory");
      int i = 0;
      for (int t = first; t < tiles; t += stride) {
        const Tile tile = tile_of(t, rank, rows);
        for (int step = first_step; step < first_step + steps; ++step, ++i) {
          const int stage = i % STAGES;
          if (i >= early) {
            barrier_wait(empty + 8 * stage, (i / STAGES & 1) ^ 1);
            barrier_expect(full + 8 * stage, BYTES_A + BYTES_B);
            load_b(tile, step, stage);
          }
          load_a(a_map, full + 8 * stage, a_tiles + stage * BYTES_A, tile.z, tile.m0, step / CHUNKS,
                 step % CHUNKS * TILE_K);
        }
      }
      asm volatile("griddepcontrol.launch_dependents;");
    }
  } else {
    if (REGISTERS > 0) asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS > 0 ? REGISTERS : 24));
    const int group = ALTERNATE ? 0 : warp / 4, row0 = group * 64 + warp % 4 * 16;
    const int turn = ALTERNATE ? warp / 4 : 0, turns = ALTERNATE ? 2 : 1;
    if (turn == 1) pass_turn(0);
    asm volatile("griddepcontrol.wait;" ::: "memory");
    int i = turn * steps;
    for (int t = first + turn * stride; t < tiles; t += turns * stride, i += (turns - 1) * steps) {
      const Tile tile = tile_of(t, rank, rows);
      const auto m_of = [&](int row) { return tile.m0 + row0 + row < M ? tile.m0 + row0 + row : -1; };
      Operands operands[RUNS_A_LANE];
      Columns columns;
      if (SPLIT == 1) fetch(ARGUMENTS, tile.z, tile.n0, m_of, operands, columns);
      Sum sums[TILE_N / 2];
      Sum parts[TILE_N / 2];
      Sum(&products)[TILE_N / 2] = promotes<A> ? parts : sums;
      if (promotes<A>) {
#pragma unroll
        for (int j = 0; j < TILE_N / 2; ++j) sums[j] = 0;
      }
      if (ALTERNATE) await_turn(turn);
      for (int step = 0; step < steps; ++step, ++i) {
        const int stage = i % STAGES;
        barrier_wait(full + 8 * stage, i / STAGES & 1);
        const u64 a = operand(a_tiles + stage * BYTES_A + group * (64 * ROW_BYTES));
        const u64 b = operand(b_tiles + stage * BYTES_B);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
        multiply(products, a, b, step > 0 && !promotes<A>);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        if (promotes<A>) {
          asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
          if (threadIdx.x % 128 < CLUSTER) barrier_arrive(empty + 8 * stage, threadIdx.x % 128);
#pragma unroll
          for (int j = 0; j < TILE_N / 2; ++j) sums[j] += parts[j];
        } else if (step > 0) {
          asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
          if (threadIdx.x % 128 < CLUSTER) barrier_arrive(empty + 8 * ((i - 1) % STAGES), threadIdx.x % 128);
        }
      }
      if (!promotes<A>) {
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
        if (threadIdx.x % 128 < CLUSTER) barrier_arrive(empty + 8 * ((i - 1) % STAGES), threadIdx.x % 128);
      }
      if (ALTERNATE) pass_turn(1 - turn);
      if (SPLIT > 1) asm volatile("bar.sync 1, %0;" ::"n"(CONSUMERS) : "memory");

      Sum* const staged = staging + (SPLIT > 1 ? row0 : warp * 16) * STAGED_PITCH;
      if (SPLIT > 1) stage(staged, sums, 0);
      else bring_out(ARGUMENTS, tile.z, tile.n0, m_of, staged, sums, operands, columns);
    }
  }
#if SPLIT > 1
  cluster_barrier();
  if (threadIdx.x < CONSUMERS) {
    const Tile tile = tile_of(first, 0, rows);
    for (int e = part * CONSUMERS + threadIdx.x; e < TILE_M * TILE_N / RUN; e += SPLIT * CONSUMERS) {
      const int row = e / (TILE_N / RUN), column = e % (TILE_N / RUN) * RUN, m = tile.m0 + row, n = tile.n0 + column;
      if (m >= M || n >= N) continue;
      Sum sums[RUN] = {};
#pragma unroll
      for (int from = 0; from < SPLIT; ++from)
#pragma unroll
        for (int j = 0; j < RUN; j += 4) {
          const auto four = read_from(to_shared(staging + staged_at(row, column + j)), from);
#pragma unroll
          for (int e = 0; e < 4; ++e) sums[j + e] += four.v[e];
        }
      store(ARGUMENTS, tile.z, m, n, sums);
    }
  }
#endif
  // Until all have read, and got, what others hold for them and bring them.
  if (SPLIT > 1 || CLUSTER > 1) cluster_barrier();
}
