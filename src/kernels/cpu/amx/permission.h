#pragma once

namespace hone::cpu {

// Whether the system lets this process use AMX's tiles; what the CPU has is in cpu_info(). Asks once.
bool amx_permitted();

}  // namespace hone::cpu
