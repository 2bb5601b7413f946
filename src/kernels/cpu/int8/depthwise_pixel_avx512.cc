#include "kernels/cpu/int8/depthwise_pixel_impl.h"
