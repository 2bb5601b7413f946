#include "import/onnx/pads.h"

#include <algorithm>

#include "base/counted.h"
#include "ops/window.h"

namespace hone::import_onnx {
namespace {

// Pads of one dim such that there are ceil(in / stride) positions; the odd element goes to the end when `upper`.
void same_pads(NodeImport& n, const Dim& in, const Window& w, bool upper, int64_t& begin, int64_t& end) {
  int64_t total = w.reach() - 1;
  if (w.stride != 1) {
    if (!in.known())
      return n.unsupported("auto_pad with stride {} needs the input's size; give the model fixed shapes", w.stride);
    const int64_t count = (in.value + w.stride - 1) / w.stride;
    total = (count - 1) * w.stride + w.reach() - in.value;
  }
  total = std::max<int64_t>(total, 0);
  begin = upper ? total / 2 : total - total / 2;
  end = total - begin;
}

}  // namespace

WindowAttributes window_attributes(NodeImport& n, ValueId x, std::vector<int64_t> kernel) {
  const size_t spatial = kernel.size();
  WindowAttributes a;
  a.strides = n.ints("strides", std::vector<int64_t>(spatial, 1));
  a.dilations = n.ints("dilations", std::vector<int64_t>(spatial, 1));
  a.pads = n.ints("pads", std::vector<int64_t>(2 * spatial, 0));
  a.kernel = std::move(kernel);
  const std::string mode = n.s("auto_pad", "NOTSET");
  if (n.failed() || mode == "NOTSET" || mode.empty()) return a;
  a.pads.assign(2 * spatial, 0);
  if (mode == "VALID") return a;
  if (mode != "SAME_UPPER" && mode != "SAME_LOWER") {
    n.invalid("auto_pad is '{}'", mode);
    return a;
  }
  const auto geometry = windows(a.kernel, a.strides, a.dilations, a.pads);
  if (!geometry.ok()) {
    n.fail(geometry.status());
    return a;
  }
  const Shape& shape = n.type(x).shape;
  for (size_t i = 0; i < spatial; ++i) {
    const Dim in = shape.ranked && i + 2 < shape.dims.size() ? shape.dims[i + 2] : Dim();
    same_pads(n, in, (*geometry)[i], mode == "SAME_UPPER", a.pads[i], a.pads[spatial + i]);
  }
  return a;
}

size_t spatial_rank(NodeImport& n, std::span<const ValueId> values) {
  for (ValueId v : values) {
    const Shape& shape = n.type(v).shape;
    if (!shape.ranked) continue;
    if (shape.rank() < 2) n.invalid("{} has no spatial dims", to_text(n.type(v)));
    return static_cast<size_t>(std::max<int64_t>(shape.rank() - 2, 0));
  }
  if (!n.has("kernel_shape")) n.invalid("the number of spatial dims is not known");
  return n.ints("kernel_shape").size();
}

std::vector<int64_t> filter_kernel(NodeImport& n, ValueId w, size_t spatial) {
  std::vector<int64_t> kernel = n.ints("kernel_shape");
  const Shape& shape = n.type(w).shape;
  if (!shape.ranked || shape.dims.size() != spatial + 2) {
    if (kernel.size() != spatial)
      n.invalid("kernel_shape has {} for {}", counted(kernel.size(), "entry", "entries"),
                counted(spatial, "spatial dim"));
    return kernel;
  }
  const bool given = !kernel.empty();
  if (!given) kernel.assign(spatial, 1);
  if (kernel.size() != spatial) {
    n.invalid("kernel_shape has {} for {}", counted(kernel.size(), "entry", "entries"),
              counted(spatial, "spatial dim"));
    return kernel;
  }
  for (size_t i = 0; i < spatial; ++i) {
    const Dim& dim = shape.dims[i + 2];
    if (!given && !dim.known()) n.invalid("the kernel's size is not known");
    if (given && dim.known() && dim.value != kernel[i])
      n.invalid("kernel_shape {} does not agree with the filter {}", to_string(kernel), to_text(n.type(w)));
    if (dim.known()) kernel[i] = dim.value;
  }
  return kernel;
}

}  // namespace hone::import_onnx
