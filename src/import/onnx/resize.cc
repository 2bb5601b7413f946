#include "ops/resize.h"

#include "import/onnx/importer.h"

namespace hone::import_onnx {
namespace {

// Input k, or none when it is there but empty, as older models write absent inputs.
ValueId non_empty(NodeImport& n, size_t k) {
  const ValueId v = n.input(k);
  const Shape& shape = n.type(v).shape;
  return v != ValueId::none && shape.known() && element_count(*shape.concrete()) == 0 ? ValueId::none : v;
}

// Upsample and the first Resize have fewer options than what came later.
void import_upsample(NodeImport& n) {
  Resize op{.mode = n.s("mode", "nearest"), .coordinates = "asymmetric", .nearest_mode = "floor"};
  if (op.mode == "bilinear") op.mode = "linear";
  ValueId scales = n.input(1);
  const bool oldest = n.opset() < 7;
  for (const char* attr : {"height_scale", "width_scale"})
    if (oldest && !n.has(attr)) return n.invalid("attribute '{}' is missing", attr);
  if (oldest || n.has("scales")) {
    const auto values =
        oldest ? std::vector<double>{1, 1, n.f("height_scale"), n.f("width_scale")} : n.floats("scales");
    Tensor t(DType::f32, {static_cast<int64_t>(values.size())});
    for (size_t i = 0; i < values.size(); ++i) t.set(static_cast<int64_t>(i), values[i]);
    scales = n.constant(t);
  }
  if (scales == ValueId::none) return n.invalid("the scales are missing");
  n.output(0, n.add(std::move(op), {n.input(0), ValueId::none, scales}));
}

void import_resize(NodeImport& n) {
  Resize op{.mode = n.s("mode", "nearest"),
            .coordinates = n.s("coordinate_transformation_mode", "half_pixel"),
            .nearest_mode = n.s("nearest_mode", "round_prefer_floor"),
            .aspect_policy = n.s("keep_aspect_ratio_policy", "stretch"),
            .cubic_coeff_a = n.f("cubic_coeff_a", -0.75),
            .extrapolation_value = n.f("extrapolation_value"),
            .antialias = n.i("antialias") != 0,
            .exclude_outside = n.i("exclude_outside") != 0,
            .axes = n.ints("axes")};
  const bool crop = op.coordinates == "tf_crop_and_resize";
  // The region is ignored by all other modes.
  const ValueId roi = crop ? non_empty(n, 1) : ValueId::none, scales = non_empty(n, 2), sizes = non_empty(n, 3);
  if (n.failed()) return;
  if (crop && roi == ValueId::none) return n.invalid("tf_crop_and_resize needs a region of interest");
  if ((scales == ValueId::none) == (sizes == ValueId::none))
    return n.invalid("exactly one of scales and sizes must be given");
  std::vector<ValueId> inputs{n.input(0), roi, scales};
  if (sizes != ValueId::none) inputs.push_back(sizes);
  n.output(0, n.add(std::move(op), inputs));
}

}  // namespace

std::span<const ImporterRow> resize_importers() {
  static constexpr ImporterRow kRows[] = {
      {"Upsample", import_upsample},
      {"Resize", import_upsample, 10},
      {"Resize", import_resize, 11},
  };
  return kRows;
}

}  // namespace hone::import_onnx
