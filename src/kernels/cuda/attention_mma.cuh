// softmax(q k^T * scale + mask) v on tensor cores, for A = f16 or bf16 with sums and softmax in fp32: the keys pass by
// in blocks of 64 while running maxima and sums are kept (Dao, FlashAttention-2, 2023). A block of 4 warps takes 64
// queries of one head.
//
// Around it the source defines what attention.cuh asks for, and MMA, the instruction. SIZE and V_SIZE are multiples
// of 16.
#define BLOCK 64
#define PITCH_K (SIZE + 8)  // elements: no two lanes of a fragment share a bank
#define PITCH_V (V_SIZE + 8)
#define KEY_BLOCKS ((KEYS + BLOCK - 1) / BLOCK)
#define LOG2E 1.44269504f

__device__ inline void copy_async(void* to, const void* from, bool valid) {
  const unsigned address = (unsigned)__cvta_generic_to_shared(to);
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(valid ? 16 : 0));
}

__device__ inline void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile(MMA " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline unsigned pack(float low, float high) {
  const A a(low), b(high);
  return (unsigned)a.bits | (unsigned)b.bits << 16;
}

extern "C" __global__ void __launch_bounds__(128) kernel(PARAMETERS) {
  begin();
  extern __shared__ __align__(16) unsigned char shared[];
  A* const k_tiles = (A*)shared;
  A* const v_tiles = k_tiles + 2 * BLOCK * PITCH_K;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
  const int head = blockIdx.y, batch = blockIdx.z, query0 = blockIdx.x * BLOCK + warp * 16 + group;

  const auto load = [&](int block) {
    A* const k_tile = k_tiles + block % 2 * (BLOCK * PITCH_K);
    A* const v_tile = v_tiles + block % 2 * (BLOCK * PITCH_V);
    for (int i = threadIdx.x; i < BLOCK * SIZE / 8; i += 128) {
      const int row = i / (SIZE / 8), column = i % (SIZE / 8) * 8, key = block * BLOCK + row;
      copy_async(k_tile + row * PITCH_K + column, k_row(ARGUMENTS, batch, head, key < KEYS ? key : 0) + column,
                 key < KEYS);
    }
    for (int i = threadIdx.x; i < BLOCK * V_SIZE / 8; i += 128) {
      const int row = i / (V_SIZE / 8), column = i % (V_SIZE / 8) * 8, key = block * BLOCK + row;
      copy_async(v_tile + row * PITCH_V + column, v_row(ARGUMENTS, batch, head, key < KEYS ? key : 0) + column,
                 key < KEYS);
    }
    asm volatile("cp.async.commit_group;");
  };
  load(0);

  // Fragments of 16 x 16: rows `group` and `group + 8`, two neighbouring columns a register.
  unsigned query_parts[SIZE / 16][4];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = query0 + half * 8;
    const A* const from = q_row(ARGUMENTS, batch, head, query < QUERIES ? query : 0) + member * 2;
#pragma unroll
    for (int i = 0; i < SIZE / 16; ++i) {
      query_parts[i][half] = query < QUERIES ? *(const unsigned*)(from + i * 16) : 0;
      query_parts[i][half + 2] = query < QUERIES ? *(const unsigned*)(from + i * 16 + 8) : 0;
    }
  }

  float largest[2] = {-INF, -INF}, sum[2] = {0, 0};
  float out[V_SIZE / 8][4] = {};
  for (int block = 0; block < KEY_BLOCKS; ++block) {
    if (block + 1 < KEY_BLOCKS) load(block + 1);
    else asm volatile("cp.async.commit_group;");
    asm volatile("cp.async.wait_group 1;");
    __syncthreads();
    const A* const k_tile = k_tiles + block % 2 * (BLOCK * PITCH_K);
    const A* const v_tile = v_tiles + block % 2 * (BLOCK * PITCH_V);

    float scores[BLOCK / 8][4] = {};
#pragma unroll
    for (int i = 0; i < SIZE / 16; ++i)
#pragma unroll
      for (int j = 0; j < BLOCK / 8; ++j) {
        const A* const from = k_tile + (j * 8 + group) * PITCH_K + i * 16 + member * 2;
        multiply(scores[j], query_parts[i], *(const unsigned*)from, *(const unsigned*)(from + 8));
      }
    float top[2] = {largest[0], largest[1]};
#pragma unroll
    for (int j = 0; j < BLOCK / 8; ++j)
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int key = block * BLOCK + j * 8 + member * 2 + part % 2, query = query0 + part / 2 * 8;
        float& s = scores[j][part];
        s = key < KEYS && query < QUERIES ? score(ARGUMENTS, s, batch, head, query, key) : -INF;
        top[part / 2] = most(top[part / 2], s);
      }
    float shrink[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      top[half] = most(top[half], __shfl_xor_sync(0xffffffffu, top[half], 1));
      top[half] = most(top[half], __shfl_xor_sync(0xffffffffu, top[half], 2));
      // A row that is all masked so far has nothing to rescale.
      shrink[half] = largest[half] == -INF ? 0.0f : exp2f((largest[half] - top[half]) * LOG2E);
      largest[half] = top[half];
      sum[half] *= shrink[half];
    }
#pragma unroll
    for (int j = 0; j < V_SIZE / 8; ++j)
#pragma unroll
      for (int part = 0; part < 4; ++part) out[j][part] *= shrink[part / 2];
#pragma unroll
    for (int j = 0; j < BLOCK / 8; ++j)
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        float& s = scores[j][part];
        s = s == -INF ? 0.0f : exp2f((s - top[part / 2]) * LOG2E);
        sum[part / 2] += s;
      }
#pragma unroll
    for (int i = 0; i < BLOCK / 16; ++i) {
      const unsigned p[4] = {pack(scores[2 * i][0], scores[2 * i][1]), pack(scores[2 * i][2], scores[2 * i][3]),
                             pack(scores[2 * i + 1][0], scores[2 * i + 1][1]),
                             pack(scores[2 * i + 1][2], scores[2 * i + 1][3])};
#pragma unroll
      for (int j = 0; j < V_SIZE / 16; ++j) {
        // Four 8 x 8 pieces, transposed: 16 keys by 16 columns.
        const unsigned from =
            (unsigned)__cvta_generic_to_shared(v_tile + (i * 16 + lane % 16) * PITCH_V + j * 16 + lane / 16 * 8);
        unsigned parts[4];
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(parts[0]), "=r"(parts[1]), "=r"(parts[2]), "=r"(parts[3])
                     : "r"(from));
        multiply(out[2 * j], p, parts[0], parts[1]);
        multiply(out[2 * j + 1], p, parts[2], parts[3]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 1);
    sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 2);
    const int query = query0 + half * 8;
    if (query >= QUERIES) continue;
    const float total = sum[half] == 0 ? 1 : sum[half];  // a row whose keys are all masked attends to nothing
    auto* const result = y_row(ARGUMENTS, batch, head, query) + member * 2;
#pragma unroll
    for (int j = 0; j < V_SIZE / 8; ++j)
      *(unsigned*)(result + j * 8) = pack(out[j][half * 2] / total, out[j][half * 2 + 1] / total);
  }
}
