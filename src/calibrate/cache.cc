#include "calibrate/cache.h"

#include <set>

#include "base/counted.h"
#include "base/file_map.h"

namespace hone::calibrate {
namespace {

constexpr CacheFormat kFormats[] = {
    {"tensorrt", tensorrt_holds, write_tensorrt, is_tensorrt, read_tensorrt},
    {"onnxruntime", onnxruntime_holds, write_onnxruntime, is_onnxruntime, read_onnxruntime},
};

constexpr size_t kNamed = 3;  // of the tensors that an error is about

std::string listed(std::span<const std::string> names) {
  std::string text;
  for (const std::string& name : names.first(std::min(kNamed, names.size())))
    text += (text.empty() ? "'" : ", '") + name + "'";
  return names.size() > kNamed ? text + ", ..." : text;
}

}  // namespace

std::span<const CacheFormat> cache_formats() { return kFormats; }

const CacheFormat* find_cache_format(std::string_view name) {
  const auto found = std::ranges::find(kFormats, name, &CacheFormat::name);
  return found == std::end(kFormats) ? nullptr : found;
}

const CacheFormat& cache_format_for(std::string_view path) { return kFormats[path.ends_with(".json") ? 1 : 0]; }

Status write_cache(const RangeTable& table, const std::string& path, const CacheFormat& format) {
  for (const TensorRange& range : table.ranges) {
    if (!(std::isfinite(range.low) && std::isfinite(range.high) && range.low <= range.high && range.threshold() > 0))
      return invalid("{}: the range of tensor '{}' is {} to {}: no cache holds it", path, range.name, range.low,
                     range.high);
    if (!format.holds(range.name))
      return invalid("{}: the name of tensor '{}' cannot be kept in a cache of the format {}: take another one", path,
                     range.name, format.name);
  }
  const std::string text = format.write(table);
  const std::string_view parts[] = {text};
  return write_file(path, parts);
}

Result<RangeTable> read_cache(const std::string& path) {
  HONE_TRY(const auto file, FileMap::open(path));
  for (const CacheFormat& format : kFormats) {
    if (!format.recognises(file->text())) continue;
    auto table = format.read(file->text());
    if (!table.ok()) return table.status().within(path);
    std::set<std::string_view> names;
    for (const TensorRange& range : table->ranges)
      if (!names.insert(range.name).second) return invalid("{}: has two ranges for tensor '{}'", path, range.name);
    if (names.empty()) return invalid("{}: a calibration cache without any range", path);
    return table;
  }
  return invalid("{}: not a calibration cache: it is neither TensorRT's text nor ONNX Runtime's JSON", path);
}

Status check_complete(const RangeTable& table, std::span<const std::string> tensors) {
  std::set<std::string_view> there, known(tensors.begin(), tensors.end());
  for (const TensorRange& range : table.ranges) there.insert(range.name);
  std::vector<std::string> missing, foreign;
  for (const std::string& name : tensors)
    if (!there.contains(name)) missing.push_back(name);
  for (const TensorRange& range : table.ranges)
    if (!known.contains(range.name)) foreign.push_back(range.name);
  if (missing.empty()) return {};
  if (missing.size() * 10 > tensors.size() * 9)
    return invalid("made for another model: it has ranges for {}, and this one has {}: calibrate this model",
                   foreign.empty() ? "little" : listed(foreign), listed(missing));
  return invalid("lacks ranges for {} of the {}: {}: calibrate again", missing.size(),
                 counted(tensors.size(), "tensor"), listed(missing));
}

}  // namespace hone::calibrate
