#include <stb_image_write.h>
#include <zip.h>

#include "base/npy.h"
#include "calibrate/cache.h"
#include "fuzz/seeds.h"
#include "tune/cache.h"

namespace hone::fuzz {
namespace {

std::vector<std::string> ranges() {
  const calibrate::RangeTable table{.calibrator = "entropy",
                                    .ranges = {{"x", -2.5, 128}, {"a: b", -1, 0.5, {0.25, 1}}, {"y", 0, 3}}};
  return {calibrate::write_tensorrt(table), calibrate::write_onnxruntime(table),
          R"({"x": [-1.5, 2], "y": {"lowest": [1], "highest": {"data": [2], "dtype": "float32"}}})"};
}

std::vector<std::string> tactics() {
  TacticCache cache;
  cache.put("k1", {"conv.direct", 3, 12.5});
  cache.put("k2", {"matmul.packed", 0, 1e-3});
  cache.put_peaks("device", {{{"fp32", 1e11}}, {{1 << 18, 5e10}, {1 << 28, 1e10}}});
  return {written([&](const std::string& path) { return cache.save(path).ok(); })};
}

std::vector<std::string> arrays() {
  std::vector<std::string> all;
  for (const DType type : {DType::f32, DType::f16, DType::i64, DType::u8, DType::boolean, DType::c128})
    all.push_back(written([&](const std::string& path) { return write_npy(path, Tensor(type, {2, 3})).ok(); }));
  return all;
}

// Three arrays in an archive, deflated or not.
std::string archive(const std::vector<std::string>& npys, zip_int32_t compression) {
  return written([&](const std::string& path) {
    zip_t* zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
    if (zip == nullptr) return false;
    for (const char* name : {"x.npy", "y.npy", "label"}) {
      const std::string& npy = npys[static_cast<size_t>(zip_get_num_entries(zip, 0))];
      const zip_int64_t index = zip_file_add(zip, name, zip_source_buffer(zip, npy.data(), npy.size(), 0), 0);
      zip_set_file_compression(zip, static_cast<zip_uint64_t>(index), compression, 0);
    }
    return zip_close(zip) == 0;
  });
}

std::vector<std::string> pictures() {
  constexpr int kWidth = 9, kHeight = 6, kColours = 3, kQuality = 80;
  std::string pixels(kWidth * kHeight * kColours, '\0');
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<char>(i * i);
  const auto append = [](void* to, void* data, int size) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(data), static_cast<size_t>(size));
  };
  std::string png, jpeg, bmp;
  stbi_write_png_to_func(append, &png, kWidth, kHeight, kColours, pixels.data(), kWidth * kColours);
  stbi_write_jpg_to_func(append, &jpeg, kWidth, kHeight, kColours, pixels.data(), kQuality);
  stbi_write_bmp_to_func(append, &bmp, kWidth, kHeight, kColours, pixels.data());
  return {png, jpeg, bmp, "P6 9 6 255\n" + pixels};
}

}  // namespace

std::vector<std::string> data_seeds(std::string_view target) {
  if (target == "ranges") return ranges();
  if (target == "tactics") return tactics();
  if (target == "npy") return arrays();
  if (target == "npz") return {archive(arrays(), ZIP_CM_STORE), archive(arrays(), ZIP_CM_DEFLATE)};
  return target == "image" ? pictures() : std::vector<std::string>();
}

}  // namespace hone::fuzz
