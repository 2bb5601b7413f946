#include "kernels/cpu/int8/depthwise_pairs_impl.inc"
