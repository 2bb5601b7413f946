#pragma once

#include "ir/graph.h"

namespace hone {

// Takes the step of the result, and an activation that only clips, into the scale, the bias and the bounds of
// elementwise nodes that quantise sums of integers again:
// clip(round(relu(sum * scale + bias + residual * r) * step)) becomes
// clip(round(sum * (scale * step) + bias * step + residual * (r * step)), 0, ..).
// Where a residual meets steps by channel, only the activation is folded.
void fold_steps(Graph& graph);

}  // namespace hone
