#include "kernels/cpu/amx/permission.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace hone::cpu {

// The system must save the tiles' state (Intel SDM volume 1, 13.3 and 18.3), which Linux does for processes that have
// asked. It refuses where signal stacks are too small for it.
bool amx_permitted() {
  constexpr long kRequest = 0x1023, kTileConfig = 17, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  static const bool permitted = [] {
    uint32_t enabled = 0, high = 0;
    asm volatile("xgetbv" : "=a"(enabled), "=d"(high) : "c"(0));
    return (enabled >> kTileConfig & 1) != 0 && (enabled >> kTileData & 1) != 0 &&
           syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  }();
  return permitted;
}

}  // namespace hone::cpu
