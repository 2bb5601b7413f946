#include "ops/table.h"

#include <algorithm>
#include <vector>

namespace hone {

#define FAMILY(name) std::span<const OpRow> name##_ops();
#include "ops/families.inc"
#undef FAMILY

std::span<const OpRow> op_table() {
  static const std::vector<OpRow> table = [] {
    std::vector<OpRow> rows;
    const auto append = [&](std::span<const OpRow> family) { rows.insert(rows.end(), family.begin(), family.end()); };
#define FAMILY(name) append(name##_ops());
#include "ops/families.inc"
#undef FAMILY
    return rows;
  }();
  return table;
}

}  // namespace hone
