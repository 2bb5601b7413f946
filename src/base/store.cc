#include "base/store.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/file_map.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

// Before the content of an entry. Two keys would have to share the hash that names the file and this one.
struct Header {
  std::array<char, 8> magic = {'H', 'O', 'N', 'E', 'K', 'E', 'P', 'T'};
  uint64_t key = 0, content = 0;  // hashes

  bool operator==(const Header&) const = default;
};

constexpr size_t kNameLength = 32;

std::string name_of(std::string_view key) {
  const XXH128_hash_t h = XXH3_128bits(key.data(), key.size());
  return fmt::format("{:016x}{:016x}", h.high64, h.low64);
}

Header header_of(std::string_view key, std::string_view content) {
  return {.key = XXH3_64bits_withSeed(key.data(), key.size(), 1),
          .content = XXH3_64bits(content.data(), content.size())};
}

struct Entry {
  fs::path path;
  int64_t bytes = 0;
  fs::file_time_type used;
};

// Those that are being written count as well: nobody else removes what is left of them when their process is killed.
std::vector<Entry> entries_of(const std::string& folder) {
  std::vector<Entry> entries;
  std::error_code error;
  for (fs::directory_iterator file(folder, error), end; !error && file != end; file.increment(error)) {
    const std::string name = file->path().filename().string();
    if (name.size() < kNameLength || name.substr(0, kNameLength).find_first_not_of("0123456789abcdef") != name.npos)
      continue;
    std::error_code gone;
    const auto bytes = static_cast<int64_t>(file->file_size(gone));
    const auto used = file->last_write_time(gone);
    if (!gone) entries.push_back({file->path(), bytes, used});
  }
  return entries;
}

}  // namespace

std::optional<std::string> Store::find(std::string_view key) const {
  const std::string path = folder_ + '/' + name_of(key);
  if (std::error_code error; !fs::exists(path, error)) return std::nullopt;
  const auto file = FileMap::open(path);
  if (!file.ok() || (*file)->text().size() < sizeof(Header)) return std::nullopt;
  Header header;
  std::memcpy(&header, (*file)->text().data(), sizeof header);
  std::string content((*file)->text().substr(sizeof header));
  if (header != header_of(key, content)) return std::nullopt;
  std::error_code ignored;
  fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
  return content;
}

void Store::put(std::string_view key, std::string_view content) const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) return;
  const Header header = header_of(key, content);
  const std::string_view parts[] = {{reinterpret_cast<const char*>(&header), sizeof header}, content};
  grew_ = true;
  (void)write_file(folder_ + '/' + name_of(key), parts, Durable::no);
}

void Store::trim(int64_t bytes) const {
  std::vector<Entry> entries = entries_of(folder_);
  std::ranges::sort(entries, std::greater(), &Entry::used);
  int64_t kept = 0;
  for (const Entry& entry : entries) {
    kept += entry.bytes;
    std::error_code ignored;
    if (kept > bytes) fs::remove(entry.path, ignored);
  }
}

Store::Size Store::size() const {
  Size size;
  for (const Entry& entry : entries_of(folder_)) {
    ++size.entries;
    size.bytes += entry.bytes;
  }
  return size;
}

Status Store::clear() const {
  for (const Entry& entry : entries_of(folder_)) {
    std::error_code error;
    if (fs::remove(entry.path, error); error)
      return invalid("{}: cannot be removed: {}", entry.path.string(), error.message());
  }
  std::error_code ignored;
  fs::remove(folder_, ignored);  // fails where others' files are in it
  return {};
}

}  // namespace hone
