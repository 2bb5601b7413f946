#pragma once

#include "kernels/cpu/pool/pool.h"
#include "ops/pool.h"
#include "tactics/common.h"

namespace hone {

// A pooling of `x` to `y` as the kernels see it. An NCHW problem becomes one of N * C images with a single channel
// each.
inline cpu::PoolProblem pool_problem(const Pool& op, const Dims& x, const Dims& y) {
  cpu::PoolProblem p{.kind = op.kind == "max"       ? cpu::PoolKind::max
                             : op.kind == "average" ? cpu::PoolKind::average
                             : op.p == 1            ? cpu::PoolKind::l1
                                                    : cpu::PoolKind::l2,
                     .batch = op.channels_last ? x[0] : x[0] * x[1],
                     .channels = op.channels_last ? x.back() : 1,
                     .count_include_pad = op.count_include_pad};
  const size_t spatial = op.kernel.size(), first = op.channels_last ? 1 : 2;
  for (size_t i = 0; i < spatial; ++i) {
    const size_t d = 3 - spatial + i;
    p.in[d] = x[first + i];
    p.out[d] = y[first + i];
    p.kernel[d] = op.kernel[i];
    p.stride[d] = op.strides[i];
    p.dilation[d] = op.dilations[i];
    p.pads_begin[d] = op.pads[i];
    p.pads_end[d] = op.pads[spatial + i];
  }
  return p;
}

}  // namespace hone
