#include "passes/pipeline.h"

#include "ops/control.h"
#include "passes/passes.h"

namespace hone {
namespace {

#define PASS(name) constexpr Pass k_##name{#name, name};
#include "passes/passes.inc"
#undef PASS

const std::vector<Stage>& canonical_stages() {
  static const std::vector<Stage> stages = {
      {.passes = {k_fold_constants, k_specialise_bodies, k_merge_duplicates, k_remove_identities, k_merge_movements,
                  k_simplify_pointwise, k_fold_pads, k_pack_weights, k_recognise_norms, k_fold_affine_functions,
                  k_recognise_attention, k_merge_projections},
       .repeat = true},
  };
  return stages;
}

const std::vector<Stage>& elementwise_stages() {
  static const std::vector<Stage> stages = {
      {.passes = {k_merge_pointwise, k_simplify_pointwise, k_merge_duplicates, k_remove_identities}, .repeat = true},
  };
  return stages;
}

const std::vector<Stage>& fusion_stages() {
  static const std::vector<Stage> stages = {elementwise_stages()[0], {.passes = {k_fuse_epilogues}}};
  return stages;
}

const std::vector<Stage>& layout_stages() {
  static const std::vector<Stage> stages = {
      {.passes = {k_channels_last}},
      {.passes = {k_sink_transposes, k_merge_movements, k_merge_duplicates, k_remove_identities, k_fold_constants},
       .repeat = true},
      {.passes = {k_transposes_to_reshapes, k_merge_movements, k_merge_duplicates, k_remove_identities,
                  k_fold_constants, k_simplify_pointwise, k_merge_pointwise},
       .repeat = true},
  };
  return stages;
}

// The stages on a graph, then on the graphs inside it, which by then know what they capture.
Status run(Graph& graph, std::span<const Stage> stages, const PassOptions& options) {
  HONE_CHECK(run_stages(graph, stages, options));
  for (NodeId id : graph.order()) {
    const Op before = graph.node(id).op;  // holds the bodies while others take their places
    for (const ControlBody& body : bodies_of(before)) {
      Graph inner = *body.graph;
      HONE_CHECK(run(inner, stages, options));
      HONE_TRY(Op op, with_body(graph.node(id).op, body.attr, std::move(inner)));
      graph.set_op(id, std::move(op));
    }
  }
  return {};
}

}  // namespace

std::span<const Pass> all_passes() {
  static constexpr Pass kPasses[] = {
#define PASS(name) k_##name,
#include "passes/passes.inc"
#undef PASS
  };
  return kPasses;
}

Status canonicalize(Graph& graph, const PassOptions& options) { return run(graph, canonical_stages(), options); }
Status merge_elementwise(Graph& graph, const PassOptions& options) { return run(graph, elementwise_stages(), options); }
Status fuse(Graph& graph, const PassOptions& options) { return run(graph, fusion_stages(), options); }
Status assign_layout(Graph& graph, const PassOptions& options) { return run(graph, layout_stages(), options); }

}  // namespace hone
