#include "kernels/cpu/quantize/dynamic_impl.inc"
