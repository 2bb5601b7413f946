#include <fmt/format.h>

#include "ops/conv.h"
#include "ops/movement.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "passes/layout/layout.h"
#include "passes/passes.h"

namespace hone {

namespace layout {

rewrite::Perm to_last(int64_t rank) {
  rewrite::Perm perm{0};
  for (int64_t i = 2; i < rank; ++i) perm.push_back(i);
  perm.push_back(1);
  return perm;
}

rewrite::Perm to_first(int64_t rank) { return rewrite::inverse(to_last(rank)); }

void name_channels_last(Graph& graph, ValueId moved, ValueId original) {
  const std::string& name = graph.value(original).name;
  if (!name.empty()) graph.set_name(moved, fmt::format("{}{}", name, kChannelsLast));
}

std::string framework_name(const Graph& graph, ValueId v) {
  std::string name = graph.value(v).name;
  if (name.ends_with(kChannelsLast)) name.resize(name.size() - kChannelsLast.size());
  return name;
}

void name_side_by_side(Graph& graph, ValueId whole, std::span<const ValueId> parts) {
  std::vector<std::string> names;
  for (const ValueId part : parts) {
    names.push_back(framework_name(graph, part));
    if (names.back().empty()) return;
  }
  graph.set_name(whole, fmt::format("{}", fmt::join(names, kSideBySide)));
}

std::vector<std::string> framework_names(const Graph& graph, ValueId v) {
  std::vector<std::string> names;
  const std::string whole = framework_name(graph, v);
  for (size_t from = 0; from != std::string::npos;) {
    const size_t end = whole.find(kSideBySide, from);
    names.push_back(whole.substr(from, end - from));
    from = end == std::string::npos ? end : end + kSideBySide.size();
  }
  return names;
}

}  // namespace layout

namespace {

using namespace rewrite;

template <class T>
std::optional<Op> turned(const Graph& graph, NodeId id) {
  const T* op = op_of<T>(graph, id);
  if (op == nullptr || op->channels_last || graph.node(id).outputs.size() != 1) return std::nullopt;
  T copy = *op;
  copy.channels_last = true;
  return Op(copy);
}

// Conv(x) -> Transpose(channels-last Conv(Transpose(x))), and so for the other windowed ops; those of one or two
// spatial dims in f32, f16 or bf16, or of Conv in 8 bits. What is around them takes the Transposes away again.
bool convert(Graph& graph, NodeId id) {
  auto op = turned<Conv>(graph, id);
  if (!op) op = turned<ConvTranspose>(graph, id);
  if (!op) op = turned<Pool>(graph, id);
  if (!op) op = turned<GroupNorm>(graph, id);
  if (!op) return false;
  const ValueId x = input(graph, id, 0);
  const int64_t rank = graph.type(x).shape.rank();
  const DType type = graph.type(x).dtype;
  const bool bytes = op->as<Conv>() != nullptr && (type == DType::i8 || type == DType::u8);
  if ((type != DType::f32 && type != DType::f16 && type != DType::bf16 && !bytes) || rank < 3 || rank > 4) return false;
  auto inputs = graph.node(id).inputs;
  inputs[0] = emit(graph, Transpose{layout::to_last(rank)}, {x}, {id});
  if (inputs[0] == ValueId::none) return false;
  const ValueId y = emit(graph, *op, inputs, {id});
  if (y == ValueId::none) return false;
  layout::name_channels_last(graph, y, output(graph, id));
  return replace(graph, output(graph, id), emit(graph, Transpose{layout::to_first(rank)}, {y}, {id}));
}

}  // namespace

Result<int> channels_last(Graph& graph, int limit) { return apply(graph, limit, {convert}); }

}  // namespace hone
