#pragma once

#include <span>
#include <string_view>

#include "base/status.h"
#include "calibrate/ranges.h"

namespace hone::calibrate {

// A file format for ranges. The same table gives the same bytes.
//   tensorrt     what writeCalibrationCache of TensorRT (up to 10) is given: a line "TRT-8601-EntropyCalibration2",
//   then
//                "NAME: HEX" a tensor, the big-endian bits of an fp32 scale = threshold / 127. Names may hold ": ".
//                TensorRT takes a cache only from a calibrator of the algorithm that the first line names: minmax and
//                legacy are named so, all others EntropyCalibration2. Ranges read back are symmetric.
//   onnxruntime  the JSON of onnxruntime.quantization's save_tensors_data and write_calibration_table: "lowest" and
//                "highest" a tensor. Names "Percentile" and "Entropy", else "MinMax", as the method, and the
//                calibrator and the magnitudes of channels in keys of their own, which ONNX Runtime passes over.
struct CacheFormat {
  std::string_view name;
  bool (*holds)(std::string_view name);           // the name of a tensor
  std::string (*write)(const RangeTable& table);  // whose names it holds
  bool (*recognises)(std::string_view text);
  Result<RangeTable> (*read)(std::string_view text);
};
std::span<const CacheFormat> cache_formats();
const CacheFormat* find_cache_format(std::string_view name);  // null when there is none
// By the ending of a path: onnxruntime for .json, else tensorrt.
const CacheFormat& cache_format_for(std::string_view path);

// Writes beside `path` and renames. Errors: invalid (cannot be written; names that the format cannot hold: several
// lines for tensorrt, other than UTF-8 for onnxruntime).
Status write_cache(const RangeTable& table, const std::string& path, const CacheFormat& format);
// In whichever format it is. Errors: invalid, naming the file and the line or tensor.
Result<RangeTable> read_cache(const std::string& path);

// Whether the table has a range for each of a model's `tensors`; it may have others. The error names some that are
// missing and, when hardly any is there, says that the cache is another model's.
Status check_complete(const RangeTable& table, std::span<const std::string> tensors);

bool tensorrt_holds(std::string_view name);
std::string write_tensorrt(const RangeTable& table);
bool is_tensorrt(std::string_view text);
Result<RangeTable> read_tensorrt(std::string_view text);
bool onnxruntime_holds(std::string_view name);
std::string write_onnxruntime(const RangeTable& table);
bool is_onnxruntime(std::string_view text);
Result<RangeTable> read_onnxruntime(std::string_view text);

}  // namespace hone::calibrate
