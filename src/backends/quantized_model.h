#pragma once

#include "ir/graph.h"
#include "tactics/tactic.h"

namespace hone {

// A model that comes quantised, with Quantize and Dequantize around its ops, is computed in integers: convolutions and
// matrix products with constant weights as products of i8 with sums in i32, where a kernel of the machine can; maximum
// pooling, concatenations and movements on i8; what is elementwise, in floats that live only inside a kernel. The
// results are those that ONNX defines, but for ties: a value that is halfway between two integers after all roundings
// may be rounded to the other one. On a GPU with fp8 those of e4m3 are done so too, with sums in f32. The graphs inside
// it are treated alike. True when there was anything to do.
bool run_quantized_model_in_integers(Graph& graph, const Machine& machine);

}  // namespace hone
