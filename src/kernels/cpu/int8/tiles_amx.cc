#include "kernels/cpu/int8/tiles_impl.inc"
