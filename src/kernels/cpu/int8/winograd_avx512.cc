#include "kernels/cpu/int8/winograd_impl.inc"
