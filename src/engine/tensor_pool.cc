#include "engine/tensor_pool.h"

#include <cstring>

#include "base/counted.h"
#include "engine/checksum.h"

namespace hone {
namespace {

constexpr uint64_t kAlign = 64, kPage = 4096;

}  // namespace

int TensorPool::add(const Tensor& tensor) {
  std::string_view content;
  if (tensor.type() == DType::string) content = encoded_.emplace_back(encode_strings(tensor));
  else if (tensor.bytes() > 0) content = {tensor.data<char>(), tensor.bytes()};
  const uint64_t hash = checksum(content);
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto it = first; it != last; ++it)
    if (contents_[static_cast<size_t>(it->second)] == content) return it->second;
  const int number = static_cast<int>(table_.size());
  by_hash_.emplace(hash, number);
  table_.push_back({0, content.size(), hash});
  contents_.push_back(content);
  bytes_ += content.size();
  return number;
}

void TensorPool::place(uint64_t start) {
  for (StoredTensor& t : table_) {
    const uint64_t align = t.bytes < kPage ? kAlign : kPage;
    t.offset = (start + align - 1) / align * align;
    start = t.offset + t.bytes;
  }
}

std::string encode_strings(const Tensor& strings) {
  std::string bytes;
  for (const std::string& s : strings.text()) {
    const uint64_t length = s.size();
    bytes.append(reinterpret_cast<const char*>(&length), sizeof length);
    bytes += s;
  }
  return bytes;
}

Result<Tensor> decode_strings(std::string_view bytes, const Dims& dims) {
  std::vector<std::string> values;
  while (!bytes.empty()) {
    uint64_t length = 0;
    if (bytes.size() < sizeof length) return invalid("strings are cut short");
    std::memcpy(&length, bytes.data(), sizeof length);
    bytes.remove_prefix(sizeof length);
    if (length > bytes.size()) return invalid("strings are cut short");
    values.emplace_back(bytes.substr(0, length));
    bytes.remove_prefix(length);
  }
  if (static_cast<int64_t>(values.size()) != element_count(dims))
    return invalid("{}, not {}", counted(values.size(), "string"), element_count(dims));
  return Tensor::strings(dims, std::move(values));
}

}  // namespace hone
