#include "tactics/pooled.h"

#include "ops/fused.h"

namespace hone {

Pooled without_pool(const Problem& problem) {
  Pooled parts{.before = problem};
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) return parts;
  Graph body = *fused->body;
  const ValueId result = body.outputs()[0];
  const NodeId last = body.value(result).producer;
  if (last == NodeId::none || body.node(last).op.as<Pool>() == nullptr) return parts;
  parts.pool = *body.node(last).op.as<Pool>();
  const ValueId before = body.node(last).inputs[0];
  body.replace_uses(result, before);
  body.remove(last);
  parts.before.outputs = {body.type(before)};
  const auto order = body.order();
  if (order.size() == 1) parts.before.op = body.node(order[0]).op;
  else parts.before.op = Fused{std::make_shared<const Graph>(std::move(body))};
  return parts;
}

}  // namespace hone
