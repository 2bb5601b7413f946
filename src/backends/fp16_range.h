#pragma once

#include <map>
#include <optional>
#include <string>

#include "backends/interval.h"
#include "backends/precision.h"
#include "backends/quantize.h"

namespace hone {

// What tensors reached on random data, by name; nothing for what became NaN. A build makes several engines of one
// network: what was seen for one of them is known for the next.
using SeenRanges = std::map<std::string, std::optional<Interval>>;

// reduce_precision, without infinities that fp32 would not have had: a tensor whose values come near the largest number
// of fp16 stays in f32. That none does is proved (value_bounds.h), or known from `ranges`, found on typical data, or
// seen in one run on random data, now or before. Sums with an additive mask that a softmax reads end at the least
// number of fp16. bf16 needs none of it. Nodes that are `kept` stay in f32. Returns what was decided, a line each.
// Errors, when `strict`: unsupported (a tensor or a constant is too large for fp16; the message names all).
Result<std::vector<std::string>> reduce_safely(Graph& graph, DType type, const Machine& machine,
                                               const Thresholds& ranges, bool strict, SeenRanges& seen,
                                               const std::set<NodeId>& kept = {});

}  // namespace hone
