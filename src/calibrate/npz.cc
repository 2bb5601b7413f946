#include "calibrate/npz.h"

#include <zip.h>

#include <filesystem>
#include <memory>

#include "base/npy.h"

namespace hone::calibrate {
namespace {

constexpr uint64_t kMostCompression = 1100;  // deflate cannot do better: larger sizes in the directory are a lie
constexpr zip_uint64_t kNeeded = ZIP_STAT_NAME | ZIP_STAT_SIZE;

using Archive = std::unique_ptr<zip_t, decltype(&zip_discard)>;

Result<Archive> open(const std::string& path) {
  int code = 0;
  Archive archive(zip_open(path.c_str(), ZIP_RDONLY, &code), &zip_discard);
  if (archive) return archive;
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  const Status status = invalid("not an .npz file ({})", zip_error_strerror(&error));
  zip_error_fini(&error);
  return status;
}

Result<std::string> read_entry(zip_t* archive, uint64_t index, const zip_stat_t& stat) {
  const std::unique_ptr<zip_file_t, decltype(&zip_fclose)> file(zip_fopen_index(archive, index, 0), &zip_fclose);
  if (!file) return invalid("cannot be read: {}", zip_strerror(archive));
  std::string bytes(stat.size, '\0');
  if (zip_fread(file.get(), bytes.data(), bytes.size()) != static_cast<zip_int64_t>(bytes.size()))
    return invalid("is damaged: {}", zip_file_strerror(file.get()));
  return bytes;
}

Result<std::map<std::string, Tensor>> read(const std::string& path) {
  HONE_TRY(const Archive archive, open(path));
  std::error_code unknown;
  const uintmax_t packed = std::filesystem::file_size(path, unknown);
  uint64_t left = unknown ? 0 : packed * kMostCompression;
  std::map<std::string, Tensor> arrays;
  for (zip_int64_t i = 0; i < zip_get_num_entries(archive.get(), 0); ++i) {
    zip_stat_t stat;
    if (zip_stat_index(archive.get(), static_cast<uint64_t>(i), 0, &stat) != 0)
      return invalid("{}", zip_strerror(archive.get()));
    if ((stat.valid & kNeeded) != kNeeded || stat.size > left)
      return invalid("the directory of the archive is damaged");
    left -= stat.size;
    std::string name = stat.name;
    if (name.ends_with(".npy")) name.resize(name.size() - 4);
    const std::string place = fmt::format("array '{}'", name);
    auto bytes = read_entry(archive.get(), static_cast<uint64_t>(i), stat);
    if (!bytes.ok()) return bytes.status().within(place);
    auto tensor = npy_from_bytes(*bytes);
    if (!tensor.ok()) return tensor.status().within(place);
    arrays[name] = std::move(*tensor);
  }
  return arrays;
}

}  // namespace

Result<std::map<std::string, Tensor>> read_npz(const std::string& path) {
  auto arrays = read(path);
  if (!arrays.ok()) return arrays.status().within(path);
  return arrays;
}

}  // namespace hone::calibrate
