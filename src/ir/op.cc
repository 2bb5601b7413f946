#include "ir/op.h"

#include "ir/graph.h"

namespace hone {
namespace {
const TensorType kNoType;
const Tensor kNoTensor;
}  // namespace

const TensorType& InferArgs::type(size_t i) const { return i < types.size() ? types[i] : kNoType; }
const Tensor& InferArgs::value(size_t i) const { return i < values.size() ? values[i] : kNoTensor; }
const Tensor& EvalArgs::operator[](size_t i) const { return i < inputs.size() ? inputs[i] : kNoTensor; }

bool Op::attrs_equal(const Attrs& a, const Attrs& b) {
  if (a.size() != b.size()) return false;
  for (auto x = a.begin(), y = b.begin(); x != a.end(); ++x, ++y) {
    if (x->first != y->first || x->second.index() != y->second.index()) return false;
    using GraphPtr = std::shared_ptr<const Graph>;
    if (const auto* g = std::get_if<GraphPtr>(&x->second)) {
      const auto& h = std::get<GraphPtr>(y->second);
      if (*g != h && (!*g || !h || !equal(**g, *h))) return false;
    } else if (x->second != y->second) {
      return false;
    }
  }
  return true;
}

Result<Op> make_op(std::string_view name, const Attrs& attrs) {
  for (const OpRow& row : op_table())
    if (row.name == name) return row.make(attrs);
  return invalid("there is no op '{}'", name);
}

}  // namespace hone
