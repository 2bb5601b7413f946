// The last layer of a residual block (bottleneck.cuh) of i8: a product of channels x pixels as the others, in parts of
// 64 channels. What is added is the input in shared memory, where each of its chunks meets the part with its number.
// Results go to a buffer, and from there to memory, a row of pixels at once; what lies outside of the image stays.
#define PARAMETERS const __grid_constant__ TensorMap result, A *__restrict__, const A *__restrict__
#define ARGUMENTS result
#define KEEPS_INPUT 1

template <class InputAt, class Release>
__device__ inline void last_layer(const Here& here, const Tile& tile, int turn, const InputAt& input_at,
                                  const Release& release, const TensorMap& result) {
  constexpr int kParts = COUT / 64;
  const int group = threadIdx.x / 128, row = threadIdx.x % 128;
#pragma unroll 1
  for (int part = 0; part < kParts; ++part) {
    const unsigned buffer = here.buffers + (turn * kParts + part) % BUFFERS * BUFFER_BYTES;
    float columns[1 + SHORTCUT][2][COLUMNS];
#pragma unroll
    for (int side = 0; side <= SHORTCUT; ++side)
      load_columns(columns[side], here.columns + side * COLUMNS * COUT, COUT, part * 64);
    Sum sums[RESULTS / 2];
    const u64 a = operand_of<ROW_BYTES>(here.last + part * MATRIX_BYTES), b = operand_of<ROW_BYTES>(here.between);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    multiply(sums, a, b, false);
#if SHORTCUT
    Sum sides[RESULTS / 2];
    const u64 side_a = operand_of<ROW_BYTES>(here.shortcut + part * MATRIX_BYTES),
              side_b = operand_of<ROW_BYTES>(input_at(0) + INSIDE * ROW_BYTES);
    multiply(sides, side_a, side_b, false);
#endif
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#if !SHORTCUT
    unsigned words[RESULTS / 8];
    load_bytes<RESULTS>(words, input_at(part), INSIDE);
#endif
    // The buffer's last results have left.
    if (row < TILE_H) asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(BUFFERS - 1) : "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    meet(group);
    if (!SHORTCUT || part + 1 == kParts) release(SHORTCUT ? 0 : part);
    put<RESULTS>(
        buffer,
        [&](int block, int half, int e) {
          const int at_sum = block * 4 + half * 2 + e;
#if SHORTCUT
          return last_of(sums[at_sum], columns[0][half], sides[at_sum], columns[1][half]);
#else
          return last_of(sums[at_sum], columns[0][half], Byte{words[block], e * 2 + half});
#endif
        },
        [](int) { return ~0u; });
    publish(group);
    if (row < TILE_H)
      asm volatile(
          "cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];\n"
          "cp.async.bulk.commit_group;" ::"l"(&result),
          "r"(buffer + row * 16 * ROW_BYTES), "r"(part * 64), "r"(tile.w0), "r"(tile.h0 + row), "r"(tile.n)
          : "memory");
  }
}
