#pragma once

#include <span>

#include "ir/graph.h"

namespace hone {

// Whether the channels of a value, on its last axis, can be multiplied by constants at next to no cost:
// canonicalisation folds them into the layer that makes it (the scale of a norm, the weights of a product), or
// elementwise work takes one multiplication more. Of elementwise work behind a product that is not so: it may be part
// of the product's kernel.
bool takes_channel_factors(const Graph& graph, ValueId v);

// `v` divided by factors, one for each channel. It has no name: it is no value of the model.
ValueId divide_channels(Graph& graph, ValueId v, std::span<const double> factors);

}  // namespace hone
