#pragma once

#include "ir/graph.h"
#include "tactics/cuda/conv.h"

// Convolutions whose product is channels x pixels (kernels/cuda/channels.cuh): a thread's sums are of two channels, for
// each of which its epilogue has a few numbers, the columns. At most one operand more is added, of the result's shape.
namespace hone::cuda {

// A node of a fused op's body with the constants that the whole problem has for it.
Problem layer_of(const Problem& problem, const hone::Graph& body, NodeId id);
// The inputs that have a number for each channel, or one for all, the bias first.
std::vector<size_t> columns_of(const Problem& layer);
// Another input of the result's shape, if there is one.
std::optional<size_t> added_to(const Problem& layer);
// Why the epilogue is another one, or empty.
std::string refuse_columns(const Problem& layer);
// `name`_of: what a layer makes of a sum, its channel's columns and, if something is added, `other`.
std::string result_function(const char* name, const Problem& layer);

// The channel of a row of weights, which gives a thread two neighbouring ones.
int64_t channel_in_pairs(int64_t row);
// Appends the weights of `channels` channels from c0 on: for each row_bytes of k, which they divide, a row a channel,
// with its swizzle.
void pack_rows(const Problem& layer, int64_t row_bytes, int64_t c0, int64_t channels, int64_t (*channel_of)(int64_t),
               std::byte*& to);
// Appends their columns one behind the other, and room for `most` of them.
void pack_columns(const Problem& layer, size_t most, int64_t c0, int64_t channels, std::byte*& to);

}  // namespace hone::cuda
