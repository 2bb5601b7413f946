#pragma once

#include "base/status.h"

namespace hone::tools {

// Begins this command anew in place of this process, with what the timing cache has learnt, and says why; for a GPU
// that a kernel's fault has ended here. Returns where that was done too often, or cannot be done.
void restart(const Status& fault);

}  // namespace hone::tools
