#include "passes/pipeline.h"

#include "passes/passes.h"

namespace hone {
namespace {

#define PASS(name) constexpr Pass k_##name{#name, name};
#include "passes/passes.inc"
#undef PASS

const std::vector<Stage>& canonical_stages() {
  static const std::vector<Stage> stages = {
      {.passes = {k_fold_constants, k_merge_duplicates, k_remove_identities, k_merge_movements, k_simplify_pointwise, k_fold_pads,
        k_recognise_norms, k_fold_affine_functions, k_recognise_attention, k_merge_projections},
       .repeat = true},
  };
  return stages;
}

const std::vector<Stage>& fusion_stages() {
  static const std::vector<Stage> stages = {
      {.passes = {k_merge_pointwise, k_simplify_pointwise, k_merge_duplicates, k_remove_identities}, .repeat = true},
      {.passes = {k_fuse_epilogues}},
  };
  return stages;
}

const std::vector<Stage>& layout_stages() {
  static const std::vector<Stage> stages = {
      {.passes = {k_channels_last}},
      {.passes = {k_sink_transposes, k_merge_movements, k_merge_duplicates, k_remove_identities, k_fold_constants}, .repeat = true},
      {.passes = {k_transposes_to_reshapes, k_merge_movements, k_merge_duplicates, k_remove_identities, k_fold_constants,
        k_simplify_pointwise, k_merge_pointwise},
       .repeat = true},
  };
  return stages;
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

Status canonicalize(Graph& graph, const PassOptions& options) { return run_stages(graph, canonical_stages(), options); }
Status fuse(Graph& graph, const PassOptions& options) { return run_stages(graph, fusion_stages(), options); }
Status assign_layout(Graph& graph, const PassOptions& options) { return run_stages(graph, layout_stages(), options); }

}  // namespace hone
