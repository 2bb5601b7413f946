#include "fuzz/engine_bytes.h"

#include <cstdint>
#include <cstring>

#include "engine/checksum.h"

namespace hone::fuzz {
namespace {

// The layout that engine/engine_file.h describes.
constexpr size_t kHeader = 16, kSection = 40, kMaxSections = 64, kTensor = 24;

uint64_t number(const std::string& bytes, size_t at, size_t size) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + at, size);
  return value;
}

void put(std::string& bytes, size_t at, uint64_t value) { std::memcpy(bytes.data() + at, &value, sizeof value); }

}  // namespace

namespace {

// {u64 offset, u64 bytes, u64 checksum} at `entry`.
void make_true(std::string& bytes, size_t entry) {
  const uint64_t offset = number(bytes, entry, 8), size = number(bytes, entry + 8, 8);
  if (offset <= bytes.size() && size <= bytes.size() - offset)
    put(bytes, entry + 16, checksum(std::string_view(bytes).substr(offset, size)));
}

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
    const bool inside = offset <= bytes.size() && size <= bytes.size() - offset;
    if (std::string_view(bytes).substr(entry, 8) == std::string_view("tensors", 8) && inside)
      for (uint64_t at = 0; at + kTensor <= size; at += kTensor) make_true(bytes, offset + at);
    make_true(bytes, entry + 16);
  }
  put(bytes, end, checksum(std::string_view(bytes).substr(0, end)));
  return bytes;
}

}  // namespace hone::fuzz
