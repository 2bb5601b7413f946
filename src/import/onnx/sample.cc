#include "ops/sample.h"

#include <numeric>

#include "import/onnx/importer.h"
#include "import/onnx/pads.h"
#include "ops/deform_conv.h"
#include "ops/gather.h"
#include "ops/movement.h"
#include "ops/roi.h"
#include "ops/shape.h"
#include "ops/unpool.h"

namespace hone::import_onnx {
namespace {

void import_grid_sample(NodeImport& n) {
  std::string mode = n.s("mode", n.opset() < 20 ? "bilinear" : "linear");
  if (mode == "bilinear") mode = "linear";
  if (mode == "bicubic") mode = "cubic";
  const GridSample op{
      .mode = mode, .padding = n.s("padding_mode", "zeros"), .align_corners = n.i("align_corners") != 0};
  n.output(0, n.add(op, {n.input(0), n.input(1)}));
}

void import_affine_grid(NodeImport& n) {
  n.output(0, n.add(AffineGrid{.align_corners = n.i("align_corners") != 0}, {n.input(0), n.input(1)}));
}

// Slices off what is too much at both ends, then pads what is missing; the odd element goes to the end.
void import_center_crop_pad(NodeImport& n) {
  const ValueId x = n.input(0), wanted = n.cast(n.input(1), DType::i64);
  const int64_t rank = n.rank(x);
  std::vector<int64_t> axes = n.ints("axes");
  if (axes.empty()) {
    axes.resize(static_cast<size_t>(rank));
    std::iota(axes.begin(), axes.end(), 0);
  }
  for (int64_t& a : axes) a = n.axis(a, rank);
  const ValueId sizes = n.add(Gather{.axis = 0}, {n.add(ShapeOf{}, {x}), n.ints(axes)});
  const ValueId zero = n.scalar(0, DType::i64), two = n.scalar(2, DType::i64);
  const auto surplus = [&](ValueId a, ValueId b) { return n.pointwise(Fn::max, {n.pointwise(Fn::sub, {a, b}), zero}); };
  const ValueId from = n.pointwise(Fn::div, {surplus(sizes, wanted), two});
  const ValueId to = n.pointwise(Fn::add, {from, n.pointwise(Fn::min, {sizes, wanted})});
  const ValueId cropped = n.add(Slice{}, {x, from, to, n.ints(axes)});
  const ValueId missing = surplus(wanted, sizes), before = n.pointwise(Fn::div, {missing, two});
  const ValueId pads = n.add(Concat{.axis = 0}, {before, n.pointwise(Fn::sub, {missing, before})});
  n.output(0, n.add(Pad{}, {cropped, pads, ValueId::none, n.ints(axes)}));
}

void import_max_unpool(NodeImport& n) {
  MaxUnpool op{.kernel = n.ints("kernel_shape")};
  op.strides = n.ints("strides", std::vector<int64_t>(op.kernel.size(), 1));
  op.pads = n.ints("pads", std::vector<int64_t>(2 * op.kernel.size(), 0));
  n.output(0, n.add(std::move(op), n.inputs()));
}

void import_col2im(NodeImport& n) {
  n.output(0, n.add(Col2Im{.strides = n.ints("strides"), .dilations = n.ints("dilations"), .pads = n.ints("pads")},
                    n.inputs()));
}

// Before opset 16 positions were not shifted.
void import_roi_align(NodeImport& n) {
  const std::string shift = n.s("coordinate_transformation_mode", n.opset() < 16 ? "output_half_pixel" : "half_pixel");
  if (shift != "half_pixel" && shift != "output_half_pixel")
    return n.invalid("coordinate_transformation_mode is '{}'", shift);
  const RoiAlign op{.mode = n.s("mode", "avg"),
                    .height = n.i("output_height", 1),
                    .width = n.i("output_width", 1),
                    .sampling_ratio = n.i("sampling_ratio"),
                    .spatial_scale = n.f("spatial_scale", 1),
                    .half_pixel = shift == "half_pixel"};
  n.output(0, n.add(op, n.inputs()));
}

void import_max_roi_pool(NodeImport& n) {
  const auto size = n.ints("pooled_shape");
  if (size.size() != 2) return n.invalid("pooled_shape is {}", to_string(size));
  n.output(
      0, n.add(MaxRoiPool{.height = size[0], .width = size[1], .spatial_scale = n.f("spatial_scale", 1)}, n.inputs()));
}

void import_deform_conv(NodeImport& n) {
  const ValueId x = n.input(0), w = n.input(1);
  const size_t spatial = spatial_rank(n, std::vector{x, w});
  if (n.failed()) return;
  const WindowAttributes a = window_attributes(n, x, filter_kernel(n, w, spatial));
  const DeformConv op{.strides = a.strides,
                      .dilations = a.dilations,
                      .pads = a.pads,
                      .groups = n.i("group", 1),
                      .offset_groups = n.i("offset_group", 1)};
  n.output(0, n.add(op, n.inputs()));
}

}  // namespace

std::span<const ImporterRow> sample_importers() {
  static constexpr ImporterRow kRows[] = {
      {"GridSample", import_grid_sample, 16},
      {"AffineGrid", import_affine_grid, 20},
      {"CenterCropPad", import_center_crop_pad, 18},
      {"MaxUnpool", import_max_unpool},
      {"Col2Im", import_col2im, 18},
      {"RoiAlign", import_roi_align, 10},
      {"MaxRoiPool", import_max_roi_pool},
      {"DeformConv", import_deform_conv, 19},
  };
  return kRows;
}

}  // namespace hone::import_onnx
