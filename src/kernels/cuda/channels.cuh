// Products of channels x pixels on the tensor cores of compute capability 9.0, by groups of 4 warps: a thread's sums
// are of two channels among 64. Results lie in shared memory as rows of a pixel's 64 channels, with their swizzle.
//
// Around it, the source defines A, the type of the results, and COLUMNS, numbers that a layer has for each channel.
#define ROW_BYTES (64 * (int)sizeof(A))
// Of a block of 8 pixels, those that one instruction moves for a warp's 16 channels.
#define BLOCKS_AT_ONCE (4 / (int)sizeof(A))

// Until all threads of the group are there.
__device__ inline void meet(int group) { asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory"); }

// What a group has written is seen by the tensor cores.
__device__ inline void publish(int group) {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  meet(group);
}

// Where 16 bytes of a pixel's channels lie from the first pixel on.
__device__ inline unsigned place(int pixel, int sixteen) {
  return pixel * ROW_BYTES + ((sixteen ^ (pixel * ROW_BYTES / 128 % (ROW_BYTES / 16))) * 16);
}

// Where a lane finds its 16 bytes of BLOCKS_AT_ONCE blocks of 8 pixels of which the first is `pixel`: those of a warp's
// 16 channels.
__device__ inline unsigned lanes_place(int pixel) {
  const int warp = threadIdx.x / 32 % 4, row = threadIdx.x % 8, matrix = threadIdx.x % 32 / 8;
  return place(pixel + matrix * BLOCKS_AT_ONCE / 4 * 8 + row, warp * (int)sizeof(A) + matrix % (int)sizeof(A));
}

// The two channels of a thread's sums, among 64. Weights of i8 lie in such an order that they are neighbours.
__device__ inline int channel_of(int half) {
  const int warp = threadIdx.x / 32 % 4, quad = threadIdx.x % 32 / 4;
  return warp * 16 + (sizeof(A) == 1 ? quad * 2 + half : quad + half * 8);
}

// What a layer of `channels` has for the thread's two among the 64 from c0 on.
__device__ inline void load_columns(float (&columns)[2][COLUMNS], const float* of_layer, int channels, int c0) {
#pragma unroll
  for (int half = 0; half < 2; ++half)
#pragma unroll
    for (int k = 0; k < COLUMNS; ++k) columns[half][k] = of_layer[k * channels + c0 + channel_of(half)];
}

// Stores results of 64 channels x `pixels` as rows of a pixel each. `result_of(block, half, e)` makes that of pixel e
// of the thread's two of a block of 8, in one of its two channels, and `kept_of(block)` are the bits of both that are
// not to be zero.
template <int pixels, class ResultOf, class KeptOf>
__device__ inline void put(unsigned rows, const ResultOf& result_of, const KeptOf& kept_of) {
  const unsigned to = rows + lanes_place(0);
#pragma unroll
  for (int block = 0; block < pixels / 8; block += BLOCKS_AT_ONCE) {
    unsigned words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int b = block + i * BLOCKS_AT_ONCE / 4;
      if constexpr (sizeof(A) == 2) words[i] = pair_of((A*)0, result_of(b, i % 2, 0), result_of(b, i % 2, 1));
      else
        words[i] = __byte_perm(__byte_perm(result_of(b, 0, 0), result_of(b, 1, 0), 0x0040),
                               __byte_perm(result_of(b, 0, 1), result_of(b, 1, 1), 0x0040), 0x5410);
      words[i] &= kept_of(b);
    }
    asm volatile(
        "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to + block * 8 * ROW_BYTES),
        "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3])
        : "memory");
  }
}

// Bytes of 64 channels x `pixels` from such rows, from a pixel on: a word for each block of 8 pixels, the two channels
// of one of a thread's pixels, then of the other.
template <int pixels>
__device__ inline void load_bytes(unsigned (&words)[pixels / 8], unsigned rows, int first) {
  const unsigned from = rows + lanes_place(first);
#pragma unroll
  for (int block = 0; block < pixels / 8; block += 4)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[block]), "=r"(words[block + 1]), "=r"(words[block + 2]), "=r"(words[block + 3])
                 : "r"(from + block * 8 * ROW_BYTES)
                 : "memory");
}

// Contiguous bytes of memory.
__device__ inline void bring(unsigned to, const unsigned char* from, int bytes, unsigned barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
               "l"(from), "r"(bytes), "r"(barrier)
               : "memory");
}
