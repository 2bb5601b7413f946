#include "calibrate/reduce_impl.h"
