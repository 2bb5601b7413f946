#include <stb_image.h>
#include <stb_image_resize.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "base/file_map.h"
#include "calibrate/preprocess.h"

namespace hone::calibrate {
namespace {

constexpr int kColours = 3;
constexpr int64_t kMostPixels = int64_t{1} << 28;
constexpr int64_t kMostSide = int64_t{1} << 16;  // resizing counts pixels in fp32, and stops where they do not fit

// What is read of what the decoder can: nobody feeds the rest to networks, and it has had holes.
struct Format {
  std::string_view start;
  int64_t pixels_of_byte;  // it cannot hold more: a larger size is a lie
};
constexpr Format kFormats[] = {
    {"\x89PNG", int64_t{8} * 1100},     // a bit each, deflated
    {"\xff\xd8\xff", int64_t{8} * 64},  // a bit for each block
    {"BM", 8},
    {"P5", 1},
    {"P6", 1},
};

struct Image {
  int width = 0, height = 0;
  std::vector<uint8_t> pixels;  // red, green, blue
};

// Where the three colours are in the input's shape, and its size.
struct Target {
  bool channels_first = false;
  int height = 0, width = 0;
};

Result<Target> target_of(const TensorType& type) {
  const auto& dims = type.shape.dims;
  if (type.dtype == DType::f32 && dims.size() == 4) {
    for (const bool first : {true, false}) {
      const Dim &h = dims[first ? 2 : 1], &w = dims[first ? 3 : 2];
      if (dims[first ? 1 : 3].value != kColours) continue;
      if (!h.known() || !w.known()) return invalid("the model leaves the size open ({}): give --shape", to_text(type));
      return Target{first, static_cast<int>(h.value), static_cast<int>(w.value)};
    }
  }
  return invalid("the model's input is {}, not an image f32[N,3,H,W] or f32[N,H,W,3]", to_text(type));
}

// It quotes the file, whatever is there.
std::string decoder_reason() {
  std::string reason = stbi_failure_reason();
  std::replace_if(
      reason.begin(), reason.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return reason;
}

Result<Image> decode(const std::string& path) {
  HONE_TRY(const auto file, FileMap::open(path));
  const auto format =
      std::ranges::find_if(kFormats, [&](const Format& f) { return file->text().starts_with(f.start); });
  if (format == std::end(kFormats)) return invalid("not an image that can be decoded (no PNG, JPEG, BMP or PPM)");
  const auto* bytes = reinterpret_cast<const stbi_uc*>(file->bytes().data());
  const int size = static_cast<int>(std::min<size_t>(file->bytes().size(), INT32_MAX));
  Image image;
  int stored = 0;
  if (stbi_info_from_memory(bytes, size, &image.width, &image.height, &stored) == 0)
    return invalid("not an image that can be decoded ({})", decoder_reason());
  if (image.width <= 0 || image.height <= 0)
    return invalid("{}x{} pixels are no image that can be decoded", image.width, image.height);
  if (int64_t{image.width} * image.height > std::min(kMostPixels, size * format->pixels_of_byte))
    return invalid("{}x{} pixels are too many", image.width, image.height);
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(bytes, size, &image.width, &image.height, &stored, kColours), &stbi_image_free);
  if (!pixels) return invalid("a damaged image ({})", decoder_reason());
  image.pixels.assign(pixels.get(), pixels.get() + int64_t{image.width} * image.height * kColours);
  return image;
}

Result<Image> resized(const Image& image, int64_t height, int64_t width) {
  if (std::max<int64_t>({image.width, image.height, width, height}) > kMostSide || width * height > kMostPixels)
    return invalid("{}x{} pixels are too many to make {}x{} of them", image.width, image.height, width, height);
  Image out{static_cast<int>(width), static_cast<int>(height),
            std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * kColours)};
  if (stbir_resize_uint8(image.pixels.data(), image.width, image.height, 0, out.pixels.data(), out.width, out.height, 0,
                         kColours) == 0)
    return Status(Code::device, "out of memory while resizing");
  return out;
}

Result<Image> fitted(Image image, const Preprocess& how, const Target& target) {
  if (how.resize) return resized(image, target.height, target.width);
  if (how.short_side > 0) {
    const double factor = how.short_side / static_cast<double>(std::min(image.width, image.height));
    const auto scaled = [&](int side) { return std::max<int64_t>(how.short_side, std::llround(side * factor)); };
    HONE_TRY(image, resized(image, scaled(image.height), scaled(image.width)));
    if (image.height < target.height || image.width < target.width)
      return invalid("a shorter side of {} is less than the model's {}x{}", how.short_side, target.height,
                     target.width);
    return image;
  }
  if (image.height != target.height || image.width != target.width)
    return invalid("is {}x{}, the model takes {}x{}: preprocess with 'resize' or 'short=N'", image.height, image.width,
                   target.height, target.width);
  return image;
}

// The middle of the image as an input.
Tensor to_input(const Image& image, const Preprocess& how, const Target& target) {
  const int64_t h = target.height, w = target.width, top = (image.height - h) / 2, left = (image.width - w) / 2;
  Tensor out(DType::f32, target.channels_first ? Dims{1, kColours, h, w} : Dims{1, h, w, kColours});
  float* values = out.mutable_data<float>();
  for (int64_t y = 0; y < h; ++y)
    for (int64_t x = 0; x < w; ++x)
      for (int64_t c = 0; c < kColours; ++c) {
        const int64_t colour = how.bgr ? kColours - 1 - c : c;
        const uint8_t pixel =
            image.pixels[static_cast<size_t>(((y + top) * image.width + x + left) * kColours + colour)];
        const auto k = static_cast<size_t>(c);
        values[target.channels_first ? (c * h + y) * w + x : (y * w + x) * kColours + c] =
            static_cast<float>((pixel * how.scale - how.mean[k]) / how.std[k]);
      }
  return out;
}

Result<Tensor> read(const std::string& path, const Preprocess& how, const TensorType& type) {
  HONE_TRY(const Target target, target_of(type));
  HONE_TRY(Image image, decode(path));
  HONE_TRY(image, fitted(std::move(image), how, target));
  return to_input(image, how, target);
}

}  // namespace

Result<Tensor> read_image(const std::string& path, const Preprocess& how, const TensorType& type) {
  auto tensor = read(path, how, type);
  if (!tensor.ok() && !tensor.status().message().starts_with(path)) return tensor.status().within(path);
  return tensor;
}

}  // namespace hone::calibrate
