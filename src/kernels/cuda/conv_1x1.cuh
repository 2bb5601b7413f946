// A convolution of i8 to i8 by filters of one pixel, on the tensor cores of compute capability 9.0, in which no thread
// reads or writes memory: what is added comes as a box, in the place that the results leave from. The weights of a
// block's CHANNELS stay in shared memory. Each of GROUPS groups of 4 warps takes tiles of TILE pixels of its own and
// goes through the channels in parts of 64, a product of channels x pixels each (channels.cuh); the others' products
// and boxes run meanwhile.
//
// Around it, boxes.cuh and channels.cuh, the source defines SHARES (of the channels, one a block), CHUNKS (of a pixel,
// IN_BYTES each), SLOTS (for tiles, a multiple of GROUPS), BUFFERS (of a group, for 64 channels of a tile), ADDS (1:
// something is added), PARAMETERS (the maps `image`, `result` and `added`, and their pointers), A (signed char), Sum,
// `void load_a(const TensorMap&, unsigned barrier, unsigned address, i64 z, int m0, int tap, int k)`, `multiply(Sum
// (&)[TILE / 2], u64 a, u64 b, bool add)`, and `result_of(Sum sum, const float (&columns)[COLUMNS][, other])`. `w` is
// what stays in shared memory, for each share: rows with their swizzle, then the columns one behind the other.
#define CONSUMERS (128 * GROUPS)
#define PARTS (CHANNELS / 64)
#define WEIGHT_BYTES (CHUNKS * CHANNELS * IN_BYTES)
#define COLUMN_BYTES (CHANNELS * COLUMNS * 4)
#define CHUNK_BYTES (TILE * IN_BYTES)
#define SLOT_BYTES (CHUNKS * CHUNK_BYTES)
#define BUFFER_BYTES (TILE * ROW_BYTES)

extern "C" __global__ void __launch_bounds__(CONSUMERS + 32, 1)
    kernel(PARAMETERS, const unsigned char* __restrict__ w, int tiles) {
  extern __shared__ unsigned char unaligned[];
  unsigned char* const shared = unaligned + (-to_shared(unaligned) & 1023);
  const unsigned weights = to_shared(shared), slots = weights + WEIGHT_BYTES, buffers = slots + SLOTS * SLOT_BYTES;
  const unsigned columns_at = buffers + GROUPS * BUFFERS * BUFFER_BYTES, weights_here = columns_at + COLUMN_BYTES;
  const unsigned full = weights_here + 8, empty = full + 8 * SLOTS, added_here = empty + 8 * SLOTS;
  const float* const columns = (const float*)(shared + (columns_at - weights));
  const int warp = threadIdx.x / 32, share = blockIdx.x % SHARES;
  const int first = blockIdx.x / SHARES, stride = gridDim.x / SHARES;  // of the blocks with the same share
  if (threadIdx.x == 0) {
    prefetch(image);
    barrier_init(weights_here, 1);
    for (int s = 0; s < SLOTS; ++s) {
      barrier_init(full + 8 * s, 1);
      barrier_init(empty + 8 * s, 1);
    }
    for (int b = 0; b < GROUPS * BUFFERS; ++b) barrier_init(added_here + 8 * b, 1);
    asm volatile("fence.mbarrier_init.release.cluster;");
  }
  __syncthreads();

  if (warp == CONSUMERS / 32) {
    if (threadIdx.x == CONSUMERS) {
      const unsigned char* const own = w + (i64)share * (WEIGHT_BYTES + COLUMN_BYTES);
      barrier_expect(weights_here, WEIGHT_BYTES + COLUMN_BYTES);
      bring(weights, own, WEIGHT_BYTES, weights_here);
      bring(columns_at, own + WEIGHT_BYTES, COLUMN_BYTES, weights_here);
      asm volatile("griddepcontrol.wait;" ::: "memory");
      for (int t = first, i = 0; t < tiles; t += stride, ++i) {
        const int slot = i % SLOTS;
        barrier_wait(empty + 8 * slot, (i / SLOTS & 1) ^ 1);
        barrier_expect(full + 8 * slot, SLOT_BYTES);
        for (int chunk = 0; chunk < CHUNKS; ++chunk)
          load_a(image, full + 8 * slot, slots + slot * SLOT_BYTES + chunk * CHUNK_BYTES, 0, t * TILE, 0,
                 chunk * IN_BYTES);
      }
      asm volatile("griddepcontrol.launch_dependents;");
    }
    return;
  }
  const int group = warp / 4;
  const bool leads = threadIdx.x % 128 == 0;
  const auto buffer_of = [&](int turn) { return buffers + (group * BUFFERS + turn % BUFFERS) * BUFFER_BYTES; };
  int t = first + group * stride;
#if ADDS
  const auto added_here_of = [&](int turn) { return added_here + 8 * (group * BUFFERS + turn % BUFFERS); };
  const auto bring_added = [&](int turn, int tile, int part) {
    barrier_expect(added_here_of(turn), BUFFER_BYTES);
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
            buffer_of(turn)),
        "l"(&added), "r"(added_here_of(turn)), "r"(share * CHANNELS + part * 64), "r"(tile * TILE)
        : "memory");
  };
#endif
  asm volatile("griddepcontrol.wait;" ::: "memory");
#if ADDS
  if (leads && t < tiles) bring_added(0, t, 0);
#endif
  barrier_wait(weights_here, 0);
  // A group's turns are its tiles' parts.
  for (int i = group, turn = 0; t < tiles; i += GROUPS, t += GROUPS * stride) {
    const int slot = i % SLOTS;
    barrier_wait(full + 8 * slot, i / SLOTS & 1);
#pragma unroll 1
    for (int part = 0; part < PARTS; ++part, ++turn) {
      const unsigned buffer = buffer_of(turn);
      Sum sums[TILE / 2];
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
      for (int chunk = 0; chunk < CHUNKS; ++chunk) {
        const u64 a = operand_of<IN_BYTES>(weights + (chunk * CHANNELS + part * 64) * IN_BYTES),
                  b = operand_of<IN_BYTES>(slots + slot * SLOT_BYTES + chunk * CHUNK_BYTES);
        multiply(sums, a, b, chunk > 0);
      }
      asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
      if (leads) {
        // The next turn's buffer is free when what was last in it has left; all know by the end of this turn.
        asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(BUFFERS - 2) : "memory");
#if ADDS
        const int next = part + 1 < PARTS ? t : t + GROUPS * stride;
        if (next < tiles) bring_added(turn + 1, next, (part + 1) % PARTS);
#endif
      }
      float own[2][COLUMNS];
      load_columns(own, columns, CHANNELS, part * 64);
#if ADDS
      unsigned words[TILE / 8];
      barrier_wait(added_here_of(turn), turn / BUFFERS & 1);
      load_bytes<TILE>(words, buffer, 0);
#endif
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      if (leads && part + 1 == PARTS) barrier_arrive(empty + 8 * slot);
      put<TILE>(
          buffer,
          [&](int block, int half, int e) {
            const Sum sum = sums[block * 4 + half * 2 + e];
#if ADDS
            return result_of(sum, own[half], Byte{words[block], e * 2 + half});
#else
            return result_of(sum, own[half]);
#endif
          },
          [](int) { return ~0u; });
      publish(group);
      if (leads)
        asm volatile(
            "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];\n"
            "cp.async.bulk.commit_group;" ::"l"(&result),
            "r"(buffer), "r"(share * CHANNELS + part * 64), "r"(t * TILE)
            : "memory");
    }
  }
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");  // until what leaves through shared memory is written
}
