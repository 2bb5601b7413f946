#include "kernels/cpu/planes/quantize_impl.inc"
