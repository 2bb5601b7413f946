// softmax(q k^T * scale + mask) v on the tensor cores of compute capability 9.0, for A = f16 or bf16 with sums and
// softmax in fp32. A group of 4 warps takes 64 queries of a head: their scores for KEYS_A_BLOCK keys are in its
// registers, and from there multiply v. The GROUPS of a block share k and v, which come by the tensor memory
// accelerator: with RESIDENT all blocks of keys at once, over which a group takes ROUNDS x 64 queries, else through a
// ring of STAGES.
//
// Around it, and attention_rows.cuh and boxes.cuh, the source defines what attention.cuh asks for, HEADS_A_KV_HEAD,
// BLOCKS_AT_ONCE (on a multiprocessor), and `load_rows(const TensorMap&, unsigned barrier, unsigned to, int column, int
// row, int head, int part, int batch)`, `multiply(float (&)[KEYS_A_BLOCK / 2], u64, u64, bool add)` and `multiply(float
// (&)[V_SIZE / 2], unsigned x 4, u64, bool add)`, the latter with the right operand in the order of its rows.
#define COLUMNS_K (SIZE > 32 ? 64 : 32)  // of a box of q or k
#define COLUMNS_V (V_SIZE > 32 ? 64 : 32)
#define BOXES_K ((SIZE + COLUMNS_K - 1) / COLUMNS_K)
#define BOXES_V ((V_SIZE + COLUMNS_V - 1) / COLUMNS_V)
#define BOX_Q (64 * COLUMNS_K * 2)  // bytes
#define BOX_K (KEYS_A_BLOCK * COLUMNS_K * 2)
#define BOX_V (KEYS_A_BLOCK * COLUMNS_V * 2)
#define BYTES_Q (BOXES_K * BOX_Q > 128 * V_SIZE ? BOXES_K * BOX_Q : 128 * V_SIZE)  // results take the queries' place
#define BUFFERS_Q (ROUNDS > 1 ? 2 : 1)
#define TILES ((QUERIES + 63) / 64)
#define KEY_BLOCKS ((KEYS + KEYS_A_BLOCK - 1) / KEYS_A_BLOCK)
#define RUNS_A_ROW (V_SIZE / 8)
#define BYTES_RUN (8 * (int)sizeof(Y))

__device__ inline void group_barrier() { asm volatile("bar.sync %0, 128;" ::"r"(1 + threadIdx.x / 128) : "memory"); }

// Where a run of a row of results is staged: no two lanes share a bank.
__device__ inline int staged_at(int row, int run) {
  return row * RUNS_A_ROW + (RUNS_A_ROW % 8 == 0 ? run ^ (row & 7) : run);
}

// How many blocks of keys the queries of a tile see, at least one.
__device__ inline int blocks_for(PARAMETERS, int batch, int tile) {
  if (KEY_BLOCKS == 1) return 1;
  const int last = tile * 64 + 63, seen = keys_seen(ARGUMENTS, batch, last < QUERIES ? last : QUERIES - 1);
  return seen <= KEYS_A_BLOCK ? 1 : (seen + KEYS_A_BLOCK - 1) / KEYS_A_BLOCK;
}

extern "C" __global__ void __launch_bounds__(128 * GROUPS, BLOCKS_AT_ONCE)
    kernel(const __grid_constant__ TensorMap q_map, const __grid_constant__ TensorMap k_map,
           const __grid_constant__ TensorMap v_map, PARAMETERS) {
  extern __shared__ unsigned char unaligned[];
  unsigned char* const shared = unaligned + (-to_shared(unaligned) & 1023);
  const unsigned q_tiles = to_shared(shared), k_tiles = q_tiles + GROUPS * BUFFERS_Q * BYTES_Q,
                 v_tiles = k_tiles + STAGES * BOXES_K * BOX_K, q_here = v_tiles + STAGES * BOXES_V * BOX_V,
                 k_here = q_here + 8 * GROUPS * BUFFERS_Q, v_here = k_here + 8 * STAGES;
  const int group = threadIdx.x / 128, warp = threadIdx.x % 128 / 32, lane = threadIdx.x % 32;
  const int head = blockIdx.y, batch = blockIdx.z, tile0 = blockIdx.x * (GROUPS * ROUNDS);
  if (threadIdx.x == 0) {
    for (const TensorMap* map : {&q_map, &k_map, &v_map}) prefetch(*map);
    for (int i = 0; i < GROUPS * BUFFERS_Q + 2 * STAGES; ++i) barrier_init(q_here + 8 * i, 1);
    asm volatile("fence.mbarrier_init.release.cluster;");
  }
  __syncthreads();
  begin();

  const auto load_q = [&](int round) {
    const int buffer = group * BUFFERS_Q + round % BUFFERS_Q, tile = tile0 + round * GROUPS + group;
    barrier_expect(q_here + 8 * buffer, BOXES_K * BOX_Q);
    for (int box = 0; box < BOXES_K; ++box)
      load_rows(q_map, q_here + 8 * buffer, q_tiles + buffer * BYTES_Q + box * BOX_Q, box * COLUMNS_K, tile * 64, head,
                0, batch);
  };
  const auto load_keys = [&](int block) {
    const int stage = block % STAGES, row = block * KEYS_A_BLOCK, kv_head = head / HEADS_A_KV_HEAD;
    barrier_expect(k_here + 8 * stage, BOXES_K * BOX_K);
    for (int box = 0; box < BOXES_K; ++box)
      load_rows(k_map, k_here + 8 * stage, k_tiles + (stage * BOXES_K + box) * BOX_K, box * COLUMNS_K, row, kv_head, 1,
                batch);
    barrier_expect(v_here + 8 * stage, BOXES_V * BOX_V);
    for (int box = 0; box < BOXES_V; ++box)
      load_rows(v_map, v_here + 8 * stage, v_tiles + (stage * BOXES_V + box) * BOX_V, box * COLUMNS_V, row, kv_head, 2,
                batch);
  };
  const int last_tile = tile0 + GROUPS * ROUNDS - 1;
  const int blocks = blocks_for(ARGUMENTS, batch, last_tile < TILES ? last_tile : TILES - 1);
  if (threadIdx.x % 128 == 0 && tile0 + group < TILES) load_q(0);
  if (threadIdx.x == 0)
    for (int block = 0; block < blocks && block < STAGES; ++block) load_keys(block);

  for (int round = 0; round < ROUNDS; ++round) {
    const int tile = tile0 + round * GROUPS + group, buffer = group * BUFFERS_Q + round % BUFFERS_Q;
    // Where blocks pass by, a group without queries keeps in step.
    if (RESIDENT && tile >= TILES) break;
    if (round + 1 < ROUNDS) {
      // The buffer's results have been read.
      asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
      group_barrier();
      if (threadIdx.x % 128 == 0 && tile + GROUPS < TILES) load_q(round + 1);
    }
    const int query = tile * 64 + warp * 16 + lane / 4, mine = RESIDENT ? blocks_for(ARGUMENTS, batch, tile) : blocks;
    const unsigned q_tile = q_tiles + buffer * BYTES_Q;
    if (tile < TILES) barrier_wait(q_here + 8 * buffer, round / BUFFERS_Q & 1);
    Rows rows;
    float out[V_SIZE / 2] = {};
    for (int block = 0; block < mine; ++block) {
      const int stage = block % STAGES;
      const unsigned k_tile = k_tiles + stage * BOXES_K * BOX_K, v_tile = v_tiles + stage * BOXES_V * BOX_V,
                     phase = block / STAGES & 1;
      float scores[KEYS_A_BLOCK / 2];
      barrier_wait(k_here + 8 * stage, phase);
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
      for (int i = 0; i < (SIZE + 15) / 16; ++i) {
        const int box = i * 16 / COLUMNS_K, inside = i * 16 % COLUMNS_K * 2;
        multiply(scores, operand_of<COLUMNS_K * 2>(q_tile + box * BOX_Q + inside),
                 operand_of<COLUMNS_K * 2>(k_tile + box * BOX_K + inside), i > 0);
      }
      asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");

      adjust(ARGUMENTS, scores, batch, head, query, block * KEYS_A_BLOCK);
      const Run<float, 2> shrink = raise(rows, scores);
      if (KEY_BLOCKS > 1)
#pragma unroll
        for (int i = 0; i < V_SIZE / 2; ++i) out[i] *= shrink.v[i / 2 % 2];

      barrier_wait(v_here + 8 * stage, phase);
#pragma unroll
      for (int key0 = 0; key0 < KEYS_A_BLOCK; key0 += 64) {
        // The tensor cores multiply the weights of 64 keys while those of the next are computed.
        unsigned weights[4][4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (key0 + i * 16 < KEYS_A_BLOCK) weigh(rows, scores, (key0 + i * 16) / 2, weights[i]);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (key0 + i * 16 < KEYS_A_BLOCK)
            multiply(out, weights[i][0], weights[i][1], weights[i][2], weights[i][3],
                     operand_of<COLUMNS_V * 2>(v_tile + (key0 + i * 16) * COLUMNS_V * 2, BOX_V), true);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
      }
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      if (!RESIDENT) {
        __syncthreads();
        if (threadIdx.x == 0 && block + STAGES < blocks) load_keys(block + STAGES);
      }
    }

    // Through shared memory, so that a lane stores a run of 8.
    group_barrier();
    unsigned char* const staged = shared + buffer * BYTES_Q + warp * (16 * RUNS_A_ROW * BYTES_RUN);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float factor = inverse_sum(rows, half);
#pragma unroll
      for (int j = 0; j < RUNS_A_ROW; ++j)
        store_results((Y*)(staged + staged_at(lane / 4 + half * 8, j) * BYTES_RUN) + lane % 4 * 2,
                      out[j * 4 + half * 2] * factor, out[j * 4 + half * 2 + 1] * factor);
    }
    __syncwarp();
#pragma unroll
    for (int i = lane; i < 16 * RUNS_A_ROW; i += 32) {
      const int row = i / RUNS_A_ROW, run = i % RUNS_A_ROW, to = tile * 64 + warp * 16 + row;
      if (to < QUERIES)
        *(RunOf<unsigned, BYTES_RUN / 4>*)(y_row(ARGUMENTS, batch, head, to) + run * 8) =
            *(const RunOf<unsigned, BYTES_RUN / 4>*)(staged + staged_at(row, run) * BYTES_RUN);
    }
  }
}
