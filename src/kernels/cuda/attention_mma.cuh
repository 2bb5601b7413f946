// softmax(q k^T * scale + mask) v on tensor cores, for A = f16 or bf16 with sums and softmax in fp32: the keys pass by
// in blocks of 64 through a ring of STAGES. A block of 4 warps takes 16 queries of one head for each of 4 / SPLIT
// warps; SPLIT of them share the keys of a block, and their sums are added at the end.
//
// Around it, and attention_rows.cuh, the source defines what attention.cuh asks for, and MMA, the instruction. SIZE and
// V_SIZE are multiples of 16.
#define BLOCK 64
#define PART (BLOCK / SPLIT)  // keys of a warp
#define WARPS_M (4 / SPLIT)
#define PITCH_K (SIZE + 8)  // elements: no two lanes of a fragment share a bank
#define PITCH_V (V_SIZE + 8)
#define KEY_BLOCKS ((KEYS + BLOCK - 1) / BLOCK)

__device__ inline void copy_async(void* to, const void* from, bool valid) {
  const unsigned address = (unsigned)__cvta_generic_to_shared(to);
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(valid ? 16 : 0));
}

__device__ inline void multiply(float* c, const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile(MMA " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Rows of a block of keys; beyond the last there are zeros.
template <int size, int pitch, class RowAt>
__device__ inline void load_rows(A* tile, int block, const RowAt& row_at) {
  for (int i = threadIdx.x; i < BLOCK * size / 8; i += 128) {
    const int row = i / (size / 8), column = i % (size / 8) * 8, key = block * BLOCK + row;
    copy_async(tile + row * pitch + column, row_at(key < KEYS ? key : 0) + column, key < KEYS);
  }
}

// Four pieces of 8 x 8, of whose rows each lane names one.
__device__ inline void load_pieces(unsigned (&parts)[4], const A* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(parts[0]), "=r"(parts[1]), "=r"(parts[2]), "=r"(parts[3])
               : "r"((unsigned)__cvta_generic_to_shared(row)));
}
__device__ inline void load_transposed_pieces(unsigned (&parts)[4], const A* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(parts[0]), "=r"(parts[1]), "=r"(parts[2]), "=r"(parts[3])
               : "r"((unsigned)__cvta_generic_to_shared(row)));
}

// Adds up the parts that SPLIT warps have of the same rows, in order; the first of them gets the whole.
__device__ inline void combine(Rows& rows, float (&out)[V_SIZE / 2], float* shared, int warp) {
  const int values = V_SIZE / 2 + 4, lane = threadIdx.x % 32, part = warp / WARPS_M;
  const auto at = [&](int of, int i) -> float& {
    return shared[(((of - 1) * WARPS_M + warp % WARPS_M) * values + i) * 32 + lane];
  };
  __syncthreads();
  if (part > 0) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      at(part, half) = rows.largest[half];
      at(part, half + 2) = rows.sum[half];
    }
#pragma unroll
    for (int i = 0; i < V_SIZE / 2; ++i) at(part, i + 4) = out[i];
  }
  __syncthreads();
  if (part > 0) return;
#pragma unroll
  for (int of = 1; of < SPLIT; ++of) {
    float own[2], other[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float theirs = at(of, half), top = fmaxf(rows.largest[half], theirs);
      own[half] = weight(rows.largest[half], base_of(top));
      other[half] = weight(theirs, base_of(top));
      rows.largest[half] = top;
      rows.sum[half] = rows.sum[half] * own[half] + at(of, half + 2) * other[half];
    }
#pragma unroll
    for (int i = 0; i < V_SIZE / 2; ++i) out[i] = out[i] * own[i / 2 % 2] + at(of, i + 4) * other[i / 2 % 2];
  }
}

extern "C" __global__ void __launch_bounds__(128) kernel(PARAMETERS) {
  begin();
  extern __shared__ __align__(16) unsigned char shared[];
  A* const k_tiles = (A*)shared;
  A* const v_tiles = k_tiles + STAGES * BLOCK * PITCH_K;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, member = lane % 4, part0 = warp / WARPS_M * PART;
  const int head = blockIdx.y, batch = blockIdx.z;
  const int query0 = (blockIdx.x * WARPS_M + warp % WARPS_M) * 16 + lane / 4;

  const auto load = [&](int block) {
    load_rows<SIZE, PITCH_K>(k_tiles + block % STAGES * (BLOCK * PITCH_K), block,
                             [&](int key) { return k_row(ARGUMENTS, batch, head, key); });
    load_rows<V_SIZE, PITCH_V>(v_tiles + block % STAGES * (BLOCK * PITCH_V), block,
                               [&](int key) { return v_row(ARGUMENTS, batch, head, key); });
  };
  // Blocks of keys that the last query sees.
  const int last = (blockIdx.x + 1) * (WARPS_M * 16) - 1;
  const int seen = keys_seen(ARGUMENTS, batch, last < QUERIES ? last : QUERIES - 1);
  const int blocks = (seen + BLOCK - 1) / BLOCK;
#pragma unroll
  for (int block = 0; block < STAGES - 1; ++block) {
    if (block < blocks) load(block);
    asm volatile("cp.async.commit_group;");
  }

  // Fragments of 16 x 16: rows `lane / 4` and the 8th after it, two neighbouring columns a register.
  unsigned query_parts[SIZE / 16][4];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = query0 + half * 8;
    const A* const from = q_row(ARGUMENTS, batch, head, query < QUERIES ? query : 0) + member * 2;
#pragma unroll
    for (int i = 0; i < SIZE / 16; ++i) {
      query_parts[i][half] = *(const unsigned*)(from + i * 16);
      query_parts[i][half + 2] = *(const unsigned*)(from + i * 16 + 8);
    }
  }

  Rows rows;
  float out[V_SIZE / 2] = {};
  for (int block = 0; block < blocks; ++block) {
    if (block + STAGES - 1 < blocks) load(block + STAGES - 1);
    asm volatile("cp.async.commit_group;\ncp.async.wait_group %0;" ::"n"(STAGES - 1));
    __syncthreads();
    const A* const k_tile = k_tiles + (block % STAGES * BLOCK + part0) * PITCH_K;
    const A* const v_tile = v_tiles + (block % STAGES * BLOCK + part0) * PITCH_V;

    float scores[PART / 2] = {};
#pragma unroll
    for (int i = 0; i < SIZE / 16; ++i)
#pragma unroll
      for (int j = 0; j < PART / 16; ++j) {
        unsigned parts[4];  // 16 keys by 16 columns
        load_pieces(parts, k_tile + (j * 16 + lane / 16 * 8 + lane % 8) * PITCH_K + i * 16 + lane / 8 % 2 * 8);
        multiply(scores + j * 8, query_parts[i], parts[0], parts[1]);
        multiply(scores + j * 8 + 4, query_parts[i], parts[2], parts[3]);
      }
    adjust(ARGUMENTS, scores, batch, head, query0, block * BLOCK + part0);
    const Run<float, 2> shrink = raise(rows, scores);
#pragma unroll
    for (int i = 0; i < V_SIZE / 2; ++i) out[i] *= shrink.v[i / 2 % 2];
#pragma unroll
    for (int i = 0; i < PART / 16; ++i) {
      unsigned weights[4];
      weigh(rows, scores, i * 8, weights);
#pragma unroll
      for (int j = 0; j < V_SIZE / 16; ++j) {
        unsigned parts[4];  // 16 keys by 16 columns
        load_transposed_pieces(parts, v_tile + (i * 16 + lane % 16) * PITCH_V + j * 16 + lane / 16 * 8);
        multiply(out + j * 8, weights, parts[0], parts[1]);
        multiply(out + j * 8 + 4, weights, parts[2], parts[3]);
      }
    }
    if (KEY_BLOCKS > STAGES) __syncthreads();
  }
  if (SPLIT > 1) {
    combine(rows, out, (float*)shared, warp);
    if (warp >= WARPS_M) return;
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float factor = inverse_sum(rows, half);
    const int query = query0 + half * 8;
    if (query >= QUERIES) continue;
    auto* const result = y_row(ARGUMENTS, batch, head, query) + member * 2;
#pragma unroll
    for (int j = 0; j < V_SIZE / 8; ++j)
      store_results(result + j * 8, out[j * 4 + half * 2] * factor, out[j * 4 + half * 2 + 1] * factor);
  }
}
