#include "calibrate/reduce_impl.inc"
