#include "kernels/cpu/int8/finish_impl.inc"
