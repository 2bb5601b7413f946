#include "fuzz/engine_bytes.h"

#include <cstdint>
#include <cstring>

#include "engine/checksum.h"

namespace hone::fuzz {
namespace {

// The layout that engine/engine_file.h describes.
constexpr size_t kHeader = 16, kSection = 40, kMaxSections = 64;

uint64_t number(const std::string& bytes, size_t at, size_t size) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + at, size);
  return value;
}

void put(std::string& bytes, size_t at, uint64_t value) { std::memcpy(bytes.data() + at, &value, sizeof value); }

}  // namespace

std::string with_true_checksums(std::string_view engine) {
  std::string bytes(engine);
  if (bytes.size() < kHeader) return bytes;
  const uint64_t sections = number(bytes, 12, 4);
  const uint64_t end = kHeader + sections * kSection;
  if (sections > kMaxSections || end + 8 > bytes.size()) return bytes;
  for (uint64_t i = 0; i < sections; ++i) {
    const size_t entry = kHeader + i * kSection;
    const uint64_t offset = number(bytes, entry + 16, 8), size = number(bytes, entry + 24, 8);
    if (offset <= bytes.size() && size <= bytes.size() - offset)
      put(bytes, entry + 32, checksum(std::string_view(bytes).substr(offset, size)));
  }
  put(bytes, end, checksum(std::string_view(bytes).substr(0, end)));
  return bytes;
}

}  // namespace hone::fuzz
