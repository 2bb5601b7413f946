// Hone's public API. In C++ (17 or newer) this is namespace hone; in C it is hone_c.h. Nothing of Hone's own sources
// and no third-party header is included.
//
// hone::build needs the library `hone`; everything else is in `hone_runtime` as well, which has no compiler in it. A
// program links one of the two: `hone` contains what `hone_runtime` does.
#pragma once

#ifdef __cplusplus
#include "build.h"
#include "calibrate.h"
#include "engine.h"
#include "status.h"
#include "tensor.h"
#else
#include "hone_c.h"
#endif
