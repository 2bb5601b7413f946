// A residual block of three convolutions, of 1x1, 3x3 and 1x1 pixels with 64 channels between them, on the tensor
// cores of compute capability 9.0: only its input is read and its result written. All weights stay in shared memory,
// and a block of threads takes every gridDim.x-th tile of TILE_H x 14 pixels. A tile's pixels lie in rows of 16, with
// one more on each side, so that a tap of the 3x3 filter is the same matrix begun some pixels later. Outside of the
// image it is the first layer's results that are zero. Each of GROUPS groups of 4 warps takes tiles of its own, so that
// one multiplies while another brings out its results; they take turns at the input, which comes in chunks of 64
// channels.
//
// The first two products are channels x pixels: as many columns as there are pixels, and a thread's sums are of one
// channel. The last is pixels x channels, the order of whose rows of weights gives a thread 8 neighbouring channels.
// Results between the layers are rounded to A, as they are where each layer is a kernel.
//
// Around it, and boxes.cuh, the source defines H, W, TILES, CHUNKS (of the input), COUT, TILE_H, TILE_N (channels of
// the last product that a group sums at once), GROUPS, SLOTS (for chunks), REGISTERS and SPARE (of a thread that
// multiplies, and of another), A, Sum, SHORTCUT (1: what is added is another 1x1 convolution of the input, of one
// chunk, else the input), `multiply(Sum (&)[n / 2], u64 a, u64 b, bool add)` for the three n, and what makes results of
// sums: `float first_of(float sum, float bias)`, `second_of`, `shortcut_of`, and `last_of(sum, bias, other)`. `w` is
// what stays in shared memory, as it lies there: rows of 128 bytes with their swizzle, then the biases as float.
#define CONSUMERS (128 * GROUPS)
#define WIDTH 14
#define PIXELS ((TILE_H + 2) * 16)
#define RESULTS (TILE_H * 16)
#define TILES_W ((W + WIDTH - 1) / WIDTH)
#define TILES_H ((H + TILE_H - 1) / TILE_H)
#define MATRIX_BYTES (64 * 128)
#define FIRST_BYTES (CHUNKS * MATRIX_BYTES)
#define LATER_BYTES (9 * MATRIX_BYTES + (1 + SHORTCUT) * COUT * 128)
#define BIAS_BYTES ((128 + (1 + SHORTCUT) * COUT) * 4)
#define SLOT_BYTES (PIXELS * 128)
#define BETWEEN_BYTES (((RESULTS + 34) * 128 + 1023) / 1024 * 1024)

__device__ inline void bring(unsigned to, const unsigned char* from, int bytes, unsigned barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
               "l"(from), "r"(bytes), "r"(barrier)
               : "memory");
}

__device__ inline void await_turn(int group) { asm volatile("bar.sync %0, 256;" ::"r"(1 + GROUPS + group) : "memory"); }
__device__ inline void pass_turn(int group) {
  asm volatile("bar.arrive %0, 256;" ::"r"(1 + GROUPS + group) : "memory");
}
// Until all threads of the group are there.
__device__ inline void meet(int group) { asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory"); }

// What a group has written is seen by the tensor cores.
__device__ inline void publish(int group) {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  meet(group);
}

// Stores results of 64 channels x `pixels` as rows of a pixel each; `pair_at(block, half, sums)` makes two neighbouring
// pixels of a block of 8, in a channel of the lower or the upper 8 of a warp's.
template <int pixels, class PairAt>
__device__ inline void put(unsigned rows, const Sum (&sums)[pixels / 2], const PairAt& pair_at) {
  const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32, row = lane % 8, matrix = lane / 8;
  const unsigned to = rows + (matrix / 2 * 8 + row) * 128 + ((warp * 2 + matrix % 2) ^ row) * 16;
#pragma unroll
  for (int block = 0; block < pixels / 8; block += 2) {
    unsigned pairs[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int b = block + i / 2, half = i % 2;
      pairs[i] = pair_at(b, half, sums[b * 4 + half * 2], sums[b * 4 + half * 2 + 1]);
    }
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to + block * 1024),
                 "r"(pairs[0]), "r"(pairs[1]), "r"(pairs[2]), "r"(pairs[3])
                 : "memory");
  }
}

extern "C" __global__ void __launch_bounds__(CONSUMERS + 128, 1)
    kernel(const __grid_constant__ TensorMap image, A* __restrict__ y, const A* __restrict__ x,
           const unsigned char* __restrict__ w) {
  extern __shared__ unsigned char unaligned[];
  unsigned char* const shared = unaligned + (-to_shared(unaligned) & 1023);
  const unsigned first = to_shared(shared), second = first + FIRST_BYTES, last = second + 9 * MATRIX_BYTES;
  const unsigned shortcut = last + COUT * 128, slots = first + FIRST_BYTES + LATER_BYTES;
  const unsigned betweens = slots + SLOTS * SLOT_BYTES, bias_at = betweens + GROUPS * BETWEEN_BYTES;
  const unsigned weights_here = bias_at + BIAS_BYTES, full = weights_here + 16, empty = full + 8 * SLOTS;
  const float* const biases = (const float*)(shared + (bias_at - first));
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    barrier_init(weights_here, 1);
    barrier_init(weights_here + 8, 1);
    for (int s = 0; s < SLOTS; ++s) {
      barrier_init(full + 8 * s, 1);
      barrier_init(empty + 8 * s, 1);
    }
    asm volatile("fence.mbarrier_init.release.cluster;");
  }
  __syncthreads();

  if (warp >= CONSUMERS / 32) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(SPARE));
    if (threadIdx.x == CONSUMERS) {
      barrier_expect(weights_here, FIRST_BYTES + BIAS_BYTES);
      bring(first, w, FIRST_BYTES, weights_here);
      bring(bias_at, w + FIRST_BYTES + LATER_BYTES, BIAS_BYTES, weights_here);
      barrier_expect(weights_here + 8, LATER_BYTES);
      bring(second, w + FIRST_BYTES, LATER_BYTES, weights_here + 8);
      asm volatile("griddepcontrol.wait;" ::: "memory");
      int use = 0;
      for (int t = blockIdx.x; t < TILES; t += gridDim.x)
        for (int chunk = 0; chunk < CHUNKS; ++chunk, ++use) {
          const int slot = use % SLOTS;
          barrier_wait(empty + 8 * slot, (use / SLOTS & 1) ^ 1);
          barrier_expect(full + 8 * slot, SLOT_BYTES);
          asm volatile(
              "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, "
              "%6}], [%2];" ::"r"(slots + slot * SLOT_BYTES),
              "l"(&image), "r"(full + 8 * slot), "r"(chunk * 64), "r"(t % TILES_W * WIDTH - 1),
              "r"(t / TILES_W % TILES_H * TILE_H - 1), "r"(t / (TILES_W * TILES_H))
              : "memory");
        }
      asm volatile("griddepcontrol.launch_dependents;");
    }
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
  const int group = warp / 4, quad = lane / 4, q = lane % 4, channel = warp % 4 * 16 + quad;
  const unsigned between = betweens + group * BETWEEN_BYTES;
  if (group == GROUPS - 1) pass_turn(0);
  asm volatile("griddepcontrol.wait;" ::: "memory");
  barrier_wait(weights_here, 0);
  const float first_bias[2] = {biases[channel], biases[channel + 8]};
  const float second_bias[2] = {biases[64 + channel], biases[64 + channel + 8]};

  for (int i = group, t = blockIdx.x + group * gridDim.x; t < TILES; i += GROUPS, t += GROUPS * gridDim.x) {
    const int w0 = t % TILES_W * WIDTH, h0 = t / TILES_W % TILES_H * TILE_H, n = t / (TILES_W * TILES_H);
    const auto slot_of = [&](int chunk) { return (i * CHUNKS + chunk) % SLOTS; };
    const auto release = [&](int chunk) {
      if (threadIdx.x % 128 == 0) barrier_arrive(empty + 8 * slot_of(chunk));
    };
    {
      Sum sums[PIXELS / 2];
      await_turn(group);
#pragma unroll
      for (int chunk = 0; chunk < CHUNKS; ++chunk) {
        barrier_wait(full + 8 * slot_of(chunk), (i * CHUNKS + chunk) / SLOTS & 1);
        const u64 a = operand_of<128>(first + chunk * MATRIX_BYTES),
                  b = operand_of<128>(slots + slot_of(chunk) * SLOT_BYTES);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int k = 0; k < 4; ++k) multiply(sums, a + k * 2, b + k * 2, chunk + k > 0);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        if (chunk > 0) {
          asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
          release(chunk - 1);
        }
      }
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      if (!SHORTCUT) release(CHUNKS - 1);
      pass_turn((group + 1) % GROUPS);
      unsigned inside[2];  // by columns: of the two pixels of a block's pair
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int column = w0 - 1 + half * 8 + q * 2;
        inside[half] = (column >= 0 && column < W ? 0xffffu : 0) | (column + 1 < W ? 0xffff0000u : 0);
      }
      put<PIXELS>(between, sums, [&](int block, int half, Sum low, Sum high) {
        const int row = h0 - 1 + block / 2;
        const unsigned pair = pair_of((A*)0, first_of(low, first_bias[half]), first_of(high, first_bias[half]));
        return row >= 0 && row < H ? pair & inside[block % 2] : 0u;
      });
    }
    publish(group);
    barrier_wait(weights_here + 8, 0);
    {
      Sum sums[RESULTS / 2];
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
      for (int tap = 0; tap < 9; ++tap) {
        const u64 a = operand_of<128>(second + tap * MATRIX_BYTES),
                  b = operand_of<128>(between + (tap / 3 * 16 + tap % 3) * 128);
#pragma unroll
        for (int k = 0; k < 4; ++k) multiply(sums, a + k * 2, b + k * 2, tap + k > 0);
      }
      asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
      meet(group);  // what is overwritten has been read by all
      put<RESULTS>(between, sums, [&](int, int half, Sum low, Sum high) {
        return pair_of((A*)0, second_of(low, second_bias[half]), second_of(high, second_bias[half]));
      });
    }
    publish(group);
#pragma unroll 1
    for (int part = 0; part < (RESULTS + 63) / 64 * (COUT / TILE_N); ++part) {
      const int m = part / (COUT / TILE_N), c0 = part % (COUT / TILE_N) * TILE_N + q * 8;
      i64 at[2];  // of a thread's two pixels
      bool stored[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = m * 4 + warp % 4, column = quad + half * 8;
        stored[half] = row < TILE_H && column < WIDTH && h0 + row < H && w0 + column < W;
        at[half] = (((i64)n * H + h0 + row) * W + w0 + column) * COUT + c0;
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
      const unsigned columns = (part % (COUT / TILE_N)) * TILE_N * 128;
      const u64 a = operand_of<128>(between + m * MATRIX_BYTES), b = operand_of<128>(last + columns);
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
      for (int k = 0; k < 4; ++k) multiply(sums, a + k * 2, b + k * 2, k > 0);
#if SHORTCUT
      // A result's pixel is one further down and across in the input's rows.
      const u64 side_a = operand_of<128>(slots + slot_of(0) * SLOT_BYTES + m * MATRIX_BYTES + 17 * 128),
                side_b = operand_of<128>(shortcut + columns);
#pragma unroll
      for (int k = 0; k < 4; ++k) multiply(sides, side_a + k * 2, side_b + k * 2, k > 0);
#endif
      asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
      if (SHORTCUT && part + 1 == (RESULTS + 63) / 64 * (COUT / TILE_N)) release(0);
#pragma unroll
      for (int g = 0; g < TILE_N / 32; ++g) {
        const float* const bias = biases + 128 + c0 + g * 32;
        const Run<float, 8> last_bias = load_run<8>(bias);
#if SHORTCUT
        const Run<float, 8> shortcut_bias = load_run<8>(bias + COUT);
#endif
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float results[8];
#pragma unroll
          for (int j = 0; j < 8; ++j) {
            const int at_sum = (g * 4 + j / 2) * 4 + half * 2 + j % 2;
#if SHORTCUT
            const A other = (A)shortcut_of(sides[at_sum], shortcut_bias.v[j]);
#else
            const A other = others[g][half].v[j];
#endif
            results[j] = last_of(sums[at_sum], last_bias.v[j], (float)other);
          }
          if (stored[half]) store_run(y + at[half] + g * 32, results);
        }
      }
    }
  }
}
