#pragma once

#include "base/status.h"
#include "compile/compile.h"
#include "hone/build.h"

namespace hone::api {

// The user's options, checked, as those of the compiler.
Result<CompileOptions> compile_options(const v0::BuildOptions& options);

}  // namespace hone::api
