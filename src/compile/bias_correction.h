#pragma once

#include "compile/compile.h"

namespace hone {

// Rounding and clipping move the means of what a network computes, most where it reads the same again and again, as in
// the background of images. This takes the difference out of the biases of its layers in 8 bits of `type` again: for
// each output channel the mean of the layer in floats less that of the layer in 8 bits, which reads what the layers
// before it, corrected already, make in 8 bits. Positions (pixels, tokens) with errors far beyond
// the usual, as where outliers are clipped, count for less.
//
// `integers` is what quantize() made of `floats`, with these layers. Every fourth sample (all, where there are fewer
// than eight) only tells whether the network's outputs are closer to fp32 with the correction; where they are not,
// `integers` stays as it is. Results of layers that are replaced are so in `layers`, too. Runs on the CPU. Returns a
// line for the user; nothing without options.samples.
Result<std::string> correct_biases(const Graph& floats, std::span<Int8Layer> layers, const CompileOptions& options,
                                   DType type, Graph& integers);

}  // namespace hone
