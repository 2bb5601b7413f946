#include <vector>

#include "import/onnx/importer.h"

namespace hone::import_onnx {

#define FAMILY(name) std::span<const ImporterRow> name##_importers();
#include "import/onnx/families.inc"
#undef FAMILY

std::span<const ImporterRow> importers() {
  static const std::vector<ImporterRow> table = [] {
    std::vector<ImporterRow> rows;
    const auto append = [&](std::span<const ImporterRow> family) {
      rows.insert(rows.end(), family.begin(), family.end());
    };
#define FAMILY(name) append(name##_importers());
#include "import/onnx/families.inc"
#undef FAMILY
    return rows;
  }();
  return table;
}

const ImporterRow* find_importer(std::string_view domain, std::string_view op_type, int64_t opset) {
  if (domain == "ai.onnx") domain = "";
  const ImporterRow* best = nullptr;
  for (const ImporterRow& row : importers())
    if (row.domain == domain && row.op_type == op_type && row.since <= opset && (!best || row.since > best->since))
      best = &row;
  return best;
}

}  // namespace hone::import_onnx
