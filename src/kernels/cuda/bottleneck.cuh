// A residual block of three convolutions, of 1x1, 3x3 and 1x1 pixels with 64 channels between them, on the tensor
// cores of compute capability 9.0: only its input is read and its result written. All weights stay in shared memory,
// and a block of threads takes every gridDim.x-th tile of TILE_H x 14 pixels. A tile's pixels lie in rows of 16, with
// one more on each side, so that a tap of the 3x3 filter is the same matrix begun some pixels later. Outside of the
// image it is the first layer's results that are zero. Each of GROUPS groups of 4 warps takes tiles of its own, so that
// one multiplies while another brings out its results; they take turns at the input, which comes in chunks of 64
// channels.
//
// The first two products are channels x pixels: as many columns as there are pixels, and a thread's sums are of two
// channels. Results between the layers are rounded to A, as they are where each layer is a kernel. The last layer is
// that of bottleneck_halves.cuh or bottleneck_bytes.cuh.
//
// Around it, boxes.cuh, channels.cuh, bottleneck_parts.cuh and the last layer's file, the source defines H, W, CHUNKS
// (of the input), COUT, TILE_H, GROUPS, SLOTS (for chunks), BUFFERS (of a group, for 64 channels of its results;
// 0: none), REGISTERS and SPARE (of a thread that multiplies, and of another), A (f16, bf16 or signed char), Sum,
// SHORTCUT (1: what is added is another 1x1 convolution of the input, of one chunk, else the input), COLUMNS (numbers
// that a layer has for each channel), `multiply(Sum (&)[n / 2], u64 a, u64 b, bool add)` for each n, and what makes
// results of sums: `first_of(Sum sum, const float (&columns)[COLUMNS])`, `second_of`, and `last_of(sum, columns,
// other)` or, with a shortcut, `last_of(sum, columns, side_sum, side_columns)`. `w` is what stays in shared memory, as
// it lies there: rows of 64 channels with their swizzle, then, for each layer, its columns one behind the other.
#define CONSUMERS (128 * GROUPS)
#define TILES_W ((W + WIDTH - 1) / WIDTH)
#define TILES_H ((H + TILE_H - 1) / TILE_H)
#define FIRST_BYTES (CHUNKS * MATRIX_BYTES)
#define LATER_BYTES (9 * MATRIX_BYTES + (1 + SHORTCUT) * COUT * ROW_BYTES)
#define COLUMN_BYTES ((128 + (1 + SHORTCUT) * COUT) * COLUMNS * 4)
#define SLOT_BYTES (PIXELS * ROW_BYTES)
#define BETWEEN_BYTES (((RESULTS + 34) * ROW_BYTES + 1023) / 1024 * 1024)

__device__ inline void await_turn(int group) { asm volatile("bar.sync %0, 256;" ::"r"(1 + GROUPS + group) : "memory"); }
__device__ inline void pass_turn(int group) {
  asm volatile("bar.arrive %0, 256;" ::"r"(1 + GROUPS + group) : "memory");
}
extern "C" __global__ void __launch_bounds__(CONSUMERS + 128, 1)
    kernel(const __grid_constant__ TensorMap image, PARAMETERS, const unsigned char* __restrict__ w, int tiles) {
  extern __shared__ unsigned char unaligned[];
  unsigned char* const shared = unaligned + (-to_shared(unaligned) & 1023);
  const unsigned first = to_shared(shared), second = first + FIRST_BYTES, last = second + 9 * MATRIX_BYTES;
  const unsigned shortcut = last + COUT * ROW_BYTES, slots = first + FIRST_BYTES + LATER_BYTES;
  const unsigned betweens = slots + SLOTS * SLOT_BYTES, buffers = betweens + GROUPS * BETWEEN_BYTES;
  const unsigned columns_at = buffers + GROUPS * BUFFERS * BUFFER_BYTES;
  const unsigned weights_here = columns_at + COLUMN_BYTES, full = weights_here + 16, empty = full + 8 * SLOTS;
  const float* const columns = (const float*)(shared + (columns_at - first));
  const int warp = threadIdx.x / 32;
  if (threadIdx.x == 0) {
    prefetch(image);
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
      barrier_expect(weights_here, FIRST_BYTES + COLUMN_BYTES);
      bring(first, w, FIRST_BYTES, weights_here);
      bring(columns_at, w + FIRST_BYTES + LATER_BYTES, COLUMN_BYTES, weights_here);
      barrier_expect(weights_here + 8, LATER_BYTES);
      bring(second, w + FIRST_BYTES, LATER_BYTES, weights_here + 8);
      asm volatile("griddepcontrol.wait;" ::: "memory");
      int use = 0;
      for (int t = blockIdx.x; t < tiles; t += gridDim.x)
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
  const int group = warp / 4, q = threadIdx.x % 4;
  const unsigned between = betweens + group * BETWEEN_BYTES;
  const Here here{between, last, shortcut, buffers + group * BUFFERS * BUFFER_BYTES, columns + 128 * COLUMNS};
  if (group == GROUPS - 1) pass_turn(0);
  asm volatile("griddepcontrol.wait;" ::: "memory");
  barrier_wait(weights_here, 0);
  float first_columns[2][COLUMNS], second_columns[2][COLUMNS];
  load_columns(first_columns, columns, 64, 0);
  load_columns(second_columns, columns + 64 * COLUMNS, 64, 0);

  for (int i = group, t = blockIdx.x + group * gridDim.x; t < tiles; i += GROUPS, t += GROUPS * gridDim.x) {
    const Tile tile{t / (TILES_W * TILES_H), t / TILES_W % TILES_H * TILE_H, t % TILES_W * WIDTH};
    const auto slot_of = [&](int chunk) { return (i * CHUNKS + chunk) % SLOTS; };
    const auto input_at = [&](int chunk) { return slots + slot_of(chunk) * SLOT_BYTES; };
    const auto release = [&](int chunk) {
      if (threadIdx.x % 128 == 0) barrier_arrive(empty + 8 * slot_of(chunk));
    };
    {
      Sum sums[PIXELS / 2];
      await_turn(group);
#pragma unroll
      for (int chunk = 0; chunk < CHUNKS; ++chunk) {
        barrier_wait(full + 8 * slot_of(chunk), (i * CHUNKS + chunk) / SLOTS & 1);
        const u64 a = operand_of<ROW_BYTES>(first + chunk * MATRIX_BYTES), b = operand_of<ROW_BYTES>(input_at(chunk));
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
        multiply(sums, a, b, chunk > 0);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        if (chunk > 0 && !KEEPS_INPUT) {
          asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
          release(chunk - 1);
        }
      }
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      if (!KEEPS_INPUT) release(CHUNKS - 1);
      pass_turn((group + 1) % GROUPS);
      unsigned inside[2];  // by columns: of the two pixels of a block's pair
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int column = tile.w0 - 1 + half * 8 + q * 2;
        inside[half] = (column >= 0 && column < W ? 0xffffu : 0) | (column + 1 < W ? 0xffff0000u : 0);
      }
      put<PIXELS>(
          between,
          [&](int block, int half, int e) { return first_of(sums[block * 4 + half * 2 + e], first_columns[half]); },
          [&](int block) {
            const int row = tile.h0 - 1 + block / 2;
            return row >= 0 && row < H ? inside[block % 2] : 0u;
          });
    }
    publish(group);
    barrier_wait(weights_here + 8, 0);
    {
      Sum sums[RESULTS / 2];
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
      for (int tap = 0; tap < 9; ++tap) {
        const u64 a = operand_of<ROW_BYTES>(second + tap * MATRIX_BYTES),
                  b = operand_of<ROW_BYTES>(between + (tap / 3 * 16 + tap % 3) * ROW_BYTES);
        multiply(sums, a, b, tap > 0);
      }
      asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
      meet(group);  // what is overwritten has been read by all
      put<RESULTS>(
          between,
          [&](int block, int half, int e) { return second_of(sums[block * 4 + half * 2 + e], second_columns[half]); },
          [](int) { return ~0u; });
    }
    publish(group);
    last_layer(here, tile, i / GROUPS, input_at, release, ARGUMENTS);
  }
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");  // until what leaves through shared memory is written
}
