#include "kernels/cpu/int8/pairs_impl.inc"
