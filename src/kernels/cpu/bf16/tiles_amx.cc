#include "kernels/cpu/bf16/tiles_impl.inc"
