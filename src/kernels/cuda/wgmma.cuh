// C = A * B on the tensor cores of compute capability 9.0, with sums in fp32. The operands' type A is f16, bf16, or float
// read as TF32. Boxes of both come by the tensor memory accelerator, in STAGES of 128 bytes of k: one warp asks for them,
// GROUPS of 4 warps each multiply 64 rows. Tiles of 64 * GROUPS x TILE_N; a block takes every gridDim.x-th one, or, with
// SPLIT > 1, a cluster of SPLIT blocks takes one, each a part of k, and the sums are added in order of the parts.
//
// Around it the source defines M, N, BATCH, TAPS (of a filter) and TAP_K (values of k for each), PARAMETERS, ARGUMENTS,
// `void load_a(const TensorMap&, u64 barrier and address as unsigned, i64 z, int m0, int tap, int k)`, B_BATCHED,
// B_CONSTANT, ROWS_FIRST (the order of tiles), `multiply(float (&)[TILE_N / 2], u64 a, u64 b)` and
// `void store(parameters, i64 z, int m, int n, Operands, const float (&)[RUN])`: RUN neighbouring columns, which divide
// N, with what `Operands operands_at(parameters, i64 index)` has loaded.
#define TILE_M (64 * GROUPS)
#define TILE_K (128 / (int)sizeof(A))
#define CHUNKS ((TAP_K + TILE_K - 1) / TILE_K)
#define STEPS (TAPS * CHUNKS)
#define BYTES_A (TILE_M * 128)
#define BYTES_B (TILE_N * 128)
#define TILES_M ((M + TILE_M - 1) / TILE_M)
#define TILES_N ((N + TILE_N - 1) / TILE_N)
#define CONSUMERS (128 * GROUPS)
// Columns that a warp brings out through shared memory at once, and floats a row there: no two lanes share a bank.
#define STAGED (SPLIT > 1 ? TILE_N : TILE_N % 64 == 0 ? 64 : 32)
#define STAGED_PITCH (STAGED + 4)
#define RUNS_A_ROW (STAGED / RUN)
#define RUNS_A_LANE (16 * RUNS_A_ROW / 32)

__device__ inline unsigned to_shared(const void* pointer) { return (unsigned)__cvta_generic_to_shared(pointer); }

__device__ inline void barrier_init(unsigned barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}
__device__ inline void barrier_expect(unsigned barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ inline void barrier_arrive(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ inline void barrier_wait(unsigned barrier, unsigned phase) {
  asm volatile(
      "{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra over;\nbra again;\nover:\n}" ::"r"(barrier),
      "r"(phase)
      : "memory");
}

// The 128-byte swizzle: rows of 128 bytes, groups of 8 rows 1024 bytes apart.
__device__ inline u64 operand(unsigned address) {
  return (u64)((address & 0x3ffff) >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

__device__ inline void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

__device__ inline float4 read_from(unsigned address, int rank) {
  float4 v;
  asm volatile("{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %4, %5;\nld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [there];\n}"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(address), "r"(rank));
  return v;
}

struct Tile {
  i64 z;
  int m0, n0;
};

__device__ inline Tile tile_of(int t) {
  const int in_item = t % (TILES_M * TILES_N);
  const int m = ROWS_FIRST ? in_item % TILES_M : in_item / TILES_N, n = ROWS_FIRST ? in_item / TILES_M : in_item % TILES_N;
  return {t / (TILES_M * TILES_N), m * TILE_M, n * TILE_N};
}

extern "C" __global__ void __launch_bounds__(CONSUMERS + 32)
    kernel(const __grid_constant__ TensorMap a_map, const __grid_constant__ TensorMap b_map, PARAMETERS) {
  extern __shared__ unsigned char unaligned[];
  unsigned char* const shared = (unsigned char*)(((u64)unaligned + 1023) & ~(u64)1023);
  const unsigned a_tiles = to_shared(shared), b_tiles = a_tiles + STAGES * BYTES_A;
  const unsigned full = b_tiles + STAGES * BYTES_B, empty = full + 8 * STAGES;
  // The parts of a split tile take the place of the operands.
  float* const staging = (float*)(SPLIT > 1 ? shared : shared + STAGES * (BYTES_A + BYTES_B) + 16 * STAGES);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    for (int s = 0; s < STAGES; ++s) {
      barrier_init(full + 8 * s, 1);
      barrier_init(empty + 8 * s, GROUPS);
    }
    asm volatile("fence.mbarrier_init.release.cluster;");
  }
  __syncthreads();
  const int rank = blockIdx.x % SPLIT, first_step = STEPS * rank / SPLIT, steps = STEPS * (rank + 1) / SPLIT - first_step;
  const int stride = gridDim.x / SPLIT;

  if (warp == CONSUMERS / 32) {
    if (lane == 0) {
      const auto load_b = [&](const Tile& tile, int step, int stage) {
        const int k = step / CHUNKS * TAP_K + step % CHUNKS * TILE_K;
        asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(
                         b_tiles + stage * BYTES_B),
                     "l"(&b_map), "r"(full + 8 * stage), "r"(k), "r"(tile.n0), "r"(B_BATCHED ? (int)tile.z : 0)
                     : "memory");
      };
      // Weights do not depend on the launch ahead.
      const int early = !B_CONSTANT ? 0 : steps < STAGES ? steps : STAGES;
      for (int i = 0; i < early; ++i) {
        barrier_expect(full + 8 * i, BYTES_A + BYTES_B);
        load_b(tile_of(blockIdx.x / SPLIT), first_step + i, i);
      }
      asm volatile("griddepcontrol.wait;" ::: "memory");
      int i = 0;
      for (int t = blockIdx.x / SPLIT; t < TILES_M * TILES_N * BATCH; t += stride) {
        const Tile tile = tile_of(t);
        for (int step = first_step; step < first_step + steps; ++step, ++i) {
          const int stage = i % STAGES;
          if (i >= early) {
            barrier_wait(empty + 8 * stage, (i / STAGES & 1) ^ 1);
            barrier_expect(full + 8 * stage, BYTES_A + BYTES_B);
            load_b(tile, step, stage);
          }
          load_a(a_map, full + 8 * stage, a_tiles + stage * BYTES_A, tile.z, tile.m0, step / CHUNKS, step % CHUNKS * TILE_K);
        }
      }
      asm volatile("griddepcontrol.launch_dependents;");
    }
  } else {
    const int group = warp / 4, row0 = group * 64 + warp % 4 * 16;
    asm volatile("griddepcontrol.wait;" ::: "memory");
    int i = 0;
    for (int t = blockIdx.x / SPLIT; t < TILES_M * TILES_N * BATCH; t += stride) {
      const Tile tile = tile_of(t);
      // A lane's runs among the 16 rows of its warp.
      const int row = lane / RUNS_A_ROW, column = lane % RUNS_A_ROW * RUN;
      const auto m_of = [&](int r) { return tile.m0 + row0 + row + r * (32 / RUNS_A_ROW); };
      const auto fetch = [&](Operands(&operands)[RUNS_A_LANE], int c0) {
        const int n = tile.n0 + c0 + column;
#pragma unroll
        for (int r = 0; r < RUNS_A_LANE; ++r)
          if (m_of(r) < M && n < N) operands[r] = operands_at(ARGUMENTS, (tile.z * M + m_of(r)) * N + n);
      };
      Operands operands[RUNS_A_LANE];
      if (SPLIT == 1) fetch(operands, 0);
      float sums[TILE_N / 2];
#pragma unroll
      for (int j = 0; j < TILE_N / 2; ++j) sums[j] = 0;
      for (int step = 0; step < steps; ++step, ++i) {
        const int stage = i % STAGES;
        barrier_wait(full + 8 * stage, i / STAGES & 1);
        const u64 a = operand(a_tiles + stage * BYTES_A + group * (64 * 128)), b = operand(b_tiles + stage * BYTES_B);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int k = 0; k < 4; ++k) multiply(sums, a + k * 2, b + k * 2);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        if (step > 0) {
          asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
          if (threadIdx.x % 128 == 0) barrier_arrive(empty + 8 * ((i - 1) % STAGES));
        }
      }
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      if (threadIdx.x % 128 == 0 && steps > 0) barrier_arrive(empty + 8 * ((i - 1) % STAGES));
      if (SPLIT > 1) asm volatile("bar.sync 1, %0;" ::"n"(CONSUMERS) : "memory");

      float* const staged = staging + (SPLIT > 1 ? row0 : warp * 16) * STAGED_PITCH;
#pragma unroll
      for (int c0 = 0; c0 < TILE_N; c0 += STAGED) {
#pragma unroll
        for (int j = 0; j < STAGED / 8; ++j)
#pragma unroll
          for (int half = 0; half < 2; ++half)
            *(float2*)(staged + (lane / 4 + half * 8) * STAGED_PITCH + j * 8 + lane % 4 * 2) =
                make_float2(sums[(c0 / 8 + j) * 4 + half * 2], sums[(c0 / 8 + j) * 4 + half * 2 + 1]);
        if (SPLIT > 1) break;
        __syncwarp();
        Operands next[RUNS_A_LANE];
        if (c0 + STAGED < TILE_N) fetch(next, c0 + STAGED);
        const int n = tile.n0 + c0 + column;
#pragma unroll
        for (int r = 0; r < RUNS_A_LANE; ++r) {
          const float* const from = staged + (row + r * (32 / RUNS_A_ROW)) * STAGED_PITCH + column;
          if (m_of(r) < M && n < N) store(ARGUMENTS, tile.z, m_of(r), n, operands[r], *(const float(*)[RUN])from);
          operands[r] = next[r];
        }
        __syncwarp();
      }
    }
  }
#if SPLIT > 1
  cluster_barrier();
  if (threadIdx.x < CONSUMERS) {
    const Tile tile = tile_of(blockIdx.x / SPLIT);
    for (int e = rank * CONSUMERS + threadIdx.x; e < TILE_M * TILE_N / RUN; e += SPLIT * CONSUMERS) {
      const int row = e / (TILE_N / RUN), column = e % (TILE_N / RUN) * RUN, m = tile.m0 + row, n = tile.n0 + column;
      if (m >= M || n >= N) continue;
      __align__(16) float sums[RUN] = {};
#pragma unroll
      for (int part = 0; part < SPLIT; ++part)
#pragma unroll
        for (int j = 0; j < RUN; j += 4) {
          const float4 v = read_from(to_shared(staging + row * STAGED_PITCH + column + j), part);
          sums[j] += v.x, sums[j + 1] += v.y, sums[j + 2] += v.z, sums[j + 3] += v.w;
        }
      store(ARGUMENTS, tile.z, m, n, sums);
    }
  }
  cluster_barrier();
#endif
}
