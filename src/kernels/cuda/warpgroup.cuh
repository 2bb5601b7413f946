// What products on the tensor cores of compute capability 9.0 share: operands in shared memory, and the way of a warp's
// sums through it to the results.
//
// Around it, and boxes.cuh, the source defines M (or a parameter is), N (of the result), TILE_N, STAGED (columns that
// are brought out at once), ROW_BYTES (of k), RUN, PARAMETERS, ARGUMENTS, Sum and `void store(parameters, i64 z, int m,
// int n, Operands, Columns, const Sum (&)[RUN])`: RUN neighbouring columns, which divide N, with what `Operands
// operands_at(parameters, i64 index)` and `Columns columns_at(parameters, int n)` loaded.
#define STAGED_PITCH (STAGED + 8)
#define RUNS_A_ROW (STAGED / RUN)
#define RUNS_A_LANE (16 * RUNS_A_ROW / 32)

__device__ inline u64 operand(unsigned address) { return operand_of<ROW_BYTES>(address); }

// Where a sum is staged. No two lanes share a bank: neither when they write pairs of 4 rows at once, for which rows lie
// 8 banks apart, nor when they read fours, 8 columns from lane to lane, for which neighbouring fours change places.
__device__ inline int staged_at(int row, int column) {
  const int four = column / 4, swap = STAGED % 64 == 0 ? four / 8 & 1 : row & 1;
  return row * STAGED_PITCH + (four ^ swap) * 4 + column % 4;
}

// The columns from c0 on of a warp's 16 rows.
__device__ inline void stage(Sum* staged, const Sum (&sums)[TILE_N / 2], int c0) {
  const int row = threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
  // Of columns that lie a multiple of 64 behind, and of those 32 behind them.
  Sum* const at[] = {staged + staged_at(row, column), staged + staged_at(row, column + 32) - 32};
#pragma unroll
  for (int j = 0; j < STAGED / 8; ++j)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      *(Run<Sum, 2>*)(at[j / 4 % 2] + half * 8 * STAGED_PITCH + j * 8) = {
          {sums[(c0 / 8 + j) * 4 + half * 2], sums[(c0 / 8 + j) * 4 + half * 2 + 1]}};
}

// What another block of the cluster has staged.
__device__ inline Run<Sum, 4> read_from(unsigned address, int rank) {
  union {
    unsigned words[4];
    Run<Sum, 4> sums;
  } v;
  asm volatile(
      "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %4, %5;\nld.shared::cluster.v4.b32 {%0, %1, %2, %3}, "
      "[there];\n}"
      : "=r"(v.words[0]), "=r"(v.words[1]), "=r"(v.words[2]), "=r"(v.words[3])
      : "r"(address), "r"(rank));
  return v.sums;
}

// What the epilogue reads for a lane's runs of the columns from n0 on. `m_of` is the result's row of each of a warp's
// 16 rows, or negative.
template <class Rows>
__device__ inline void fetch(PARAMETERS, i64 z, int n0, const Rows& m_of, Operands (&operands)[RUNS_A_LANE],
                             Columns& columns) {
  const int lane = threadIdx.x % 32, n = n0 + lane % RUNS_A_ROW * RUN;
  if (n >= N) return;
  columns = columns_at(ARGUMENTS, n);
#pragma unroll
  for (int r = 0; r < RUNS_A_LANE; ++r) {
    const int m = m_of(lane / RUNS_A_ROW + r * (32 / RUNS_A_ROW));
    if (m >= 0) operands[r] = operands_at(ARGUMENTS, (z * M + m) * N + n);
  }
}

// Stores a warp's rows of a tile; `operands` and `columns` are those of its first columns.
template <class Rows>
__device__ inline void bring_out(PARAMETERS, i64 z, int n0, const Rows& m_of, Sum* staged,
                                 const Sum (&sums)[TILE_N / 2], Operands (&operands)[RUNS_A_LANE], Columns& columns) {
  const int lane = threadIdx.x % 32, first = lane / RUNS_A_ROW, column = lane % RUNS_A_ROW * RUN;
#pragma unroll
  for (int c0 = 0; c0 < TILE_N; c0 += STAGED) {
    stage(staged, sums, c0);
    __syncwarp();
    Operands next[RUNS_A_LANE];
    Columns next_columns;
    if (c0 + STAGED < TILE_N) fetch(ARGUMENTS, z, n0 + c0 + STAGED, m_of, next, next_columns);
    const int n = n0 + c0 + column;
#pragma unroll
    for (int r = 0; r < RUNS_A_LANE; ++r) {
      const int row = first + r * (32 / RUNS_A_ROW), m = m_of(row);
      __align__(16) Sum run[RUN];
#pragma unroll
      for (int j = 0; j < RUN; j += 4)
        *(Run<Sum, 4>*)(run + j) =
            load_run<4>(staged + staged_at(first, column + j) + (row - first) * STAGED_PITCH);
      if (m >= 0 && n < N) store(ARGUMENTS, z, m, n, operands[r], columns, run);
      operands[r] = next[r];
    }
    columns = next_columns;
    __syncwarp();
  }
}
