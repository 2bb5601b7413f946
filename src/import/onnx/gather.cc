#include "ops/gather.h"

#include "import/onnx/importer.h"

namespace hone::import_onnx {
namespace {

void import_gather(NodeImport& n) { n.output(0, n.add(Gather{n.i("axis")}, n.inputs())); }
void import_gather_elements(NodeImport& n) { n.output(0, n.add(GatherElements{n.i("axis")}, n.inputs())); }
void import_gather_nd(NodeImport& n) { n.output(0, n.add(GatherND{n.i("batch_dims")}, n.inputs())); }

void import_scatter_elements(NodeImport& n) {
  n.output(0, n.add(ScatterElements{n.i("axis"), n.s("reduction", "none")}, n.inputs()));
}

void import_scatter_nd(NodeImport& n) { n.output(0, n.add(ScatterND{n.s("reduction", "none")}, n.inputs())); }

}  // namespace

std::span<const ImporterRow> gather_importers() {
  static constexpr ImporterRow kRows[] = {
      {"Gather", import_gather},
      {"GatherElements", import_gather_elements},
      {"GatherND", import_gather_nd},
      {"Scatter", import_scatter_elements},
      {"ScatterElements", import_scatter_elements},
      {"ScatterND", import_scatter_nd},
  };
  return kRows;
}

}  // namespace hone::import_onnx
