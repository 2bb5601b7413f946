#include "base/out_of_memory.h"

#include <fmt/format.h>

namespace hone {

std::string out_of_memory(const std::bad_alloc& error) {
  const auto* known = dynamic_cast<const OutOfMemory*>(&error);
  if (known == nullptr) return "out of memory";
  return fmt::format("out of memory: {:.1f} MB are wanted at once: take a smaller batch or shape",
                     static_cast<double>(known->bytes()) / 1e6);
}

}  // namespace hone
