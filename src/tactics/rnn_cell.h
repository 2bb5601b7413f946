#pragma once

#include "ops/rnn.h"

namespace hone {

// The elementwise programs of a recurrent cell, for one direction. Operands are [rows, hidden]; peepholes are [hidden].
struct CellPrograms {
  // lstm, the next cell state: gates i, o, f, c, the cell state, then with peepholes those of i, o, f.
  // gru with the reset before the product: what the candidate's weights multiply, from gates z, r, h, the state.
  PointwiseProgram first;
  // The next state. lstm: gates i, o, f, c, the next cell state, then the peepholes; gru: gates z, r, h, the state,
  // then with the reset after the product the candidate's recurrent part; rnn: the gate.
  PointwiseProgram second;
};

CellPrograms cell_programs(const Rnn& op, int64_t direction, bool peepholes);

}  // namespace hone
