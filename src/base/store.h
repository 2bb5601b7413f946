#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace hone {

// What takes long to make, under all that it was made from: a folder with a file for each entry, shared by processes.
// An entry is written beside its place and renamed; one that is missing, cut off or changed is not found. Thread safe.
class Store {
 public:
  // The folder is made with the first entry.
  explicit Store(std::string folder) : folder_(std::move(folder)) {}

  std::optional<std::string> find(std::string_view key) const;
  // What cannot be written is not kept, and nobody is told: it will be made again.
  void put(std::string_view key, std::string_view content) const;
  // Whether anything was put by way of this object.
  bool grew() const { return grew_; }
  // Removes what was not found or put for longest, until no more than `bytes` are left.
  void trim(int64_t bytes) const;

  struct Size {
    int64_t entries = 0, bytes = 0;
  };
  Size size() const;
  // Removes all entries, and the folder where nothing else is in it.
  Status clear() const;
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
  mutable std::atomic<bool> grew_ = false;
};

}  // namespace hone
