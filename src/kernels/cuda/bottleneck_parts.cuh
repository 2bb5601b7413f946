// What the layers of a residual block share: see bottleneck.cuh.
#define WIDTH 14
#define PIXELS ((TILE_H + 2) * 16)
#define RESULTS (TILE_H * 16)
// The pixel of a tile's input that its first result belongs to: one down and one across.
#define INSIDE 17
#define ROW_BYTES (64 * (int)sizeof(A))
#define MATRIX_BYTES (64 * ROW_BYTES)
#define BUFFER_BYTES (RESULTS * ROW_BYTES)
// Of a block of 8 pixels, those that one instruction moves for a warp's 16 channels.
#define BLOCKS_AT_ONCE (4 / (int)sizeof(A))

// A tile's image and first pixel.
struct Tile {
  int n, h0, w0;
};

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

// What the last layer of a tile finds in shared memory: the results of the one before it, weights, columns (of the
// shortcut behind its own), and the group's buffers.
struct Here {
  unsigned between, last, shortcut, buffers;
  const float* columns;
};
