#include <algorithm>
#include <vector>

#include "tactics/tactic.h"

namespace hone {

#define FAMILY(name) std::span<const Tactic> name##_tactics();
#include "tactics/families.inc"
#undef FAMILY

std::span<const Tactic> tactic_table() {
  static const std::vector<Tactic> table = [] {
    std::vector<Tactic> rows;
    const auto append = [&](std::span<const Tactic> family) { rows.insert(rows.end(), family.begin(), family.end()); };
#define FAMILY(name) append(name##_tactics());
#include "tactics/families.inc"
#undef FAMILY
    return rows;
  }();
  return table;
}

const Tactic* find_tactic(std::string_view name) {
  const auto table = tactic_table();
  const auto found = std::find_if(table.begin(), table.end(), [&](const Tactic& t) { return t.name == name; });
  return found == table.end() ? nullptr : &*found;
}

bool Problem::is_static() const {
  const auto fixed = [](const TensorType& t) {
    return !t.defined() || (t.shape.known() && size_of(t.dtype) > 0);
  };
  return std::all_of(inputs.begin(), inputs.end(), fixed) && std::all_of(outputs.begin(), outputs.end(), fixed);
}

}  // namespace hone
