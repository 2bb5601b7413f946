#pragma once

#include <deque>
#include <map>

#include "base/tensor.h"

namespace hone {

// Where a tensor of an engine file lies, from the file's start, and what its bytes hash to.
struct StoredTensor {
  uint64_t offset = 0, bytes = 0, hash = 0;
};

// The tensors of an engine file while it is written. Those of the same bytes are stored once.
class TensorPool {
 public:
  // The number of the tensor. What is flat memory is not copied: it must live as long as the pool.
  int add(const Tensor& tensor);
  // Bytes of all tensors, without what aligns them.
  uint64_t bytes() const { return bytes_; }
  // Puts them behind the first `start` bytes of a file, at multiples of 64, and of a page where they are as large, so
  // that reading one touches few pages of others.
  void place(uint64_t start);

  std::span<const StoredTensor> table() const { return table_; }
  std::string_view content(size_t number) const { return contents_[number]; }

 private:
  std::vector<StoredTensor> table_;
  std::vector<std::string_view> contents_;
  std::multimap<uint64_t, int> by_hash_;
  std::deque<std::string> encoded_;  // tensors of strings
  uint64_t bytes_ = 0;
};

// Strings are no flat memory: each is stored behind its length.
std::string encode_strings(const Tensor& strings);
Result<Tensor> decode_strings(std::string_view bytes, const Dims& dims);

}  // namespace hone
