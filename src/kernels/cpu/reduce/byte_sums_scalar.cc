#include "kernels/cpu/reduce/byte_sums_impl.inc"
