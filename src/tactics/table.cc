#include <algorithm>
#include <vector>

#include "tactics/tactic.h"

namespace hone {

#define FAMILY(name) std::span<const Tactic> name##_tactics();
#include "tactics/families.inc"
#undef FAMILY

namespace {

std::vector<Tactic>& table() {
  static std::vector<Tactic> rows = [] {
    std::vector<Tactic> all;
    const auto append = [&](std::span<const Tactic> family) { all.insert(all.end(), family.begin(), family.end()); };
#define FAMILY(name) append(name##_tactics());
#include "tactics/families.inc"
#undef FAMILY
    return all;
  }();
  return rows;
}

}  // namespace

std::span<const Tactic> tactic_table() { return table(); }

void add_tactic(const Tactic& tactic) { table().insert(table().begin(), tactic); }

const Tactic* find_tactic(std::string_view name) {
  const auto table = tactic_table();
  const auto found = std::find_if(table.begin(), table.end(), [&](const Tactic& t) { return t.name == name; });
  return found == table.end() ? nullptr : &*found;
}

bool Problem::is_static() const {
  const auto fixed = [](const TensorType& t) { return !t.defined() || (t.shape.known() && size_of(t.dtype) > 0); };
  return std::all_of(inputs.begin(), inputs.end(), fixed) && std::all_of(outputs.begin(), outputs.end(), fixed);
}

}  // namespace hone
