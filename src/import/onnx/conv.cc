#include "ops/conv.h"

#include <algorithm>

#include "base/counted.h"
#include "import/onnx/importer.h"
#include "import/onnx/pads.h"
#include "ops/window.h"

namespace hone::import_onnx {
namespace {

void import_conv(NodeImport& n) {
  const ValueId x = n.input(0), w = n.input(1);
  const size_t spatial = spatial_rank(n, std::vector{x, w});
  if (n.failed()) return;
  const WindowAttributes a = window_attributes(n, x, filter_kernel(n, w, spatial));
  std::vector<ValueId> inputs{x, w};
  if (n.has_input(2)) inputs.push_back(n.input(2));
  n.output(0, n.add(Conv{.strides = a.strides, .dilations = a.dilations, .pads = a.pads, .groups = n.i("group", 1)},
                    inputs));
}

// Sets pads and output_padding of one dim so that the output has `size` elements: `total` is what has to be cut off.
void cut(int64_t total, bool begin_smaller, size_t i, ConvTranspose& op) {
  const size_t spatial = op.strides.size();
  if (total < 0) {
    op.output_padding[i] -= total;
    total = 0;
  }
  const int64_t half = total / 2;
  op.pads[i] = begin_smaller ? half : total - half;
  op.pads[spatial + i] = total - op.pads[i];
}

// output_shape and auto_pad both give the output's size, and the pads follow from it.
void resolve_transposed(NodeImport& n, ValueId x, const std::vector<int64_t>& kernel, ConvTranspose& op) {
  const size_t spatial = op.strides.size();
  const std::string mode = n.s("auto_pad", "NOTSET");
  std::vector<int64_t> sizes = n.ints("output_shape");
  if (sizes.size() > spatial) sizes.erase(sizes.begin(), sizes.end() - static_cast<int64_t>(spatial));
  if (n.failed() || (sizes.empty() && (mode == "NOTSET" || mode.empty()))) return;
  if (sizes.empty() && mode == "VALID") return op.pads.assign(2 * spatial, 0);
  if (sizes.empty() && mode != "SAME_UPPER" && mode != "SAME_LOWER") return n.invalid("auto_pad is '{}'", mode);
  const auto geometry = windows(kernel, op.strides, op.dilations, std::vector<int64_t>(2 * spatial, 0));
  if (!geometry.ok()) return n.fail(geometry.status());
  if (!sizes.empty() && sizes.size() != spatial)
    return n.invalid("output_shape {} does not fit {}", to_string(sizes), counted(spatial, "spatial dim"));
  if (op.output_padding.size() != spatial)
    return n.invalid("output_padding {} does not fit", to_string(op.output_padding));
  const Shape& shape = n.type(x).shape;
  for (size_t i = 0; i < spatial; ++i) {
    const Window& w = (*geometry)[i];
    int64_t total = w.reach() + op.output_padding[i] - w.stride;  // for an output of in * stride
    if (!sizes.empty()) {
      const Dim in = shape.ranked ? shape.dims[i + 2] : Dim();
      if (!in.known()) return n.unsupported("output_shape needs the input's size; give the model fixed shapes");
      const auto full = transposed_positions(in, w, op.output_padding[i]);
      if (!full.ok()) return n.fail(full.status());
      if (sizes[i] < 0) return n.invalid("output_shape is {}", to_string(sizes));
      total = full->value - sizes[i];
    }
    cut(total, mode == "SAME_UPPER", i, op);
  }
}

void import_conv_transpose(NodeImport& n) {
  const ValueId x = n.input(0), w = n.input(1);
  const size_t spatial = spatial_rank(n, std::vector{x, w});
  if (n.failed()) return;
  const std::vector<int64_t> kernel = filter_kernel(n, w, spatial);
  ConvTranspose op{.strides = n.ints("strides", std::vector<int64_t>(spatial, 1)),
                   .dilations = n.ints("dilations", std::vector<int64_t>(spatial, 1)),
                   .pads = n.ints("pads", std::vector<int64_t>(2 * spatial, 0)),
                   .output_padding = n.ints("output_padding", std::vector<int64_t>(spatial, 0)),
                   .groups = n.i("group", 1)};
  if (op.strides.size() != spatial)
    return n.invalid("strides has {} for {}", counted(op.strides.size(), "entry", "entries"),
                     counted(spatial, "spatial dim"));
  resolve_transposed(n, x, kernel, op);
  std::vector<ValueId> inputs{x, w};
  if (n.has_input(2)) inputs.push_back(n.input(2));
  n.output(0, n.add(std::move(op), inputs));
}

}  // namespace

std::span<const ImporterRow> conv_importers() {
  static constexpr ImporterRow kRows[] = {{"Conv", import_conv}, {"ConvTranspose", import_conv_transpose}};
  return kRows;
}

}  // namespace hone::import_onnx
