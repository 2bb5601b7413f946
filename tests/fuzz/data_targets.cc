#include "base/npy.h"
#include "calibrate/cache.h"
#include "calibrate/npz.h"
#include "calibrate/preprocess.h"
#include "fuzz/memory_file.h"
#include "fuzz/refused.h"
#include "fuzz/targets.h"
#include "tune/cache.h"

namespace hone::fuzz {
namespace {

bool is_truth_or_number(const Tensor& t) {
  const auto* bytes = static_cast<const uint8_t*>(t.raw());
  return t.type() != DType::boolean || std::all_of(bytes, bytes + t.bytes(), [](uint8_t b) { return b <= 1; });
}

}  // namespace

std::string read_calibration_cache(std::string_view bytes) {
  const auto table = calibrate::read_cache(MemoryFile(bytes).path());
  if (!table.ok()) return refused(table.status(), false);  // names of tensors may have several lines
  for (const calibrate::TensorRange& range : table->ranges)
    if (!range.usable()) return "a range that cannot be used: " + range.name;
  for (const calibrate::TensorRange& range : table->ranges)
    if (!calibrate::onnxruntime_holds(range.name)) return {};
  const std::string text = calibrate::write_onnxruntime(*table);
  const auto again = calibrate::read_onnxruntime(text);
  if (!again.ok()) return "a cache that cannot be read back: " + again.status().message() + "\n" + text;
  return again->ranges.size() == table->ranges.size() ? "" : "a cache of fewer ranges when read back";
}

std::string read_tactic_cache(std::string_view bytes) {
  const auto cache = TacticCache::load(MemoryFile(bytes).path());
  return cache.ok() ? "" : refused(cache.status());
}

std::string read_array(std::string_view bytes) {
  const auto tensor = npy_from_bytes(bytes);
  if (!tensor.ok()) return refused(tensor.status(), false);  // it quotes the header
  return is_truth_or_number(*tensor) ? "" : "a boolean that is neither 0 nor 1";
}

std::string read_archive(std::string_view bytes) {
  const auto arrays = calibrate::read_npz(MemoryFile(bytes).path());
  return arrays.ok() ? "" : refused(arrays.status(), false);  // names of arrays may have several lines
}

std::string read_picture(std::string_view bytes) {
  const MemoryFile file(bytes);
  const TensorType type = *type_from_text("f32[1,3,4,4]");
  for (const char* words : {"resize", "short=5"}) {
    const auto tensor = calibrate::read_image(file.path(), *calibrate::preprocess_from_text(words), type);
    if (!tensor.ok()) return refused(tensor.status());
    if (tensor->dims() != Dims{1, 3, 4, 4}) return "an input of another shape";
  }
  return {};
}

}  // namespace hone::fuzz
