#include "engine/floor.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "engine/inspect.h"
#include "ops/cost.h"
#include "ops/gather.h"
#include "ops/movement.h"

namespace hone {
namespace {

// Nothing when the shape is open or the type has no size.
std::optional<double> bytes_of(const TensorType& type) {
  const auto dims = type.shape.concrete();
  if (!dims || size_of(type.dtype) == 0) return std::nullopt;
  return static_cast<double>(element_count(*dims)) * static_cast<double>(size_of(type.dtype));
}

bool runs_on_gpu(const Step& step) { return step.tactic.starts_with("cuda."); }

bool reads_a_part(const Step& step) {
  return step.op == Gather::kName || step.op == GatherElements::kName || step.op == GatherND::kName ||
         step.op == Slice::kName;
}

std::optional<double> bytes_of(const Program& program, const Step& step) {
  double sum = 0, written = 0;
  const auto size = [&](int s) { return bytes_of(program.slots[static_cast<size_t>(s)].type); };
  for (int s : step.outputs) {
    const auto bytes = s < 0 ? 0 : size(s);
    if (!bytes) return std::nullopt;
    written += *bytes;
  }
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    const auto bytes = step.inputs[i] < 0 ? 0 : size(step.inputs[i]);
    if (!bytes) return std::nullopt;
    sum += i == 0 && reads_a_part(step) ? std::min(*bytes, written) : *bytes;
  }
  // The first that a GPU's kernel has is its code.
  for (size_t i = runs_on_gpu(step) ? 1 : 0; i < step.packed.size(); ++i) sum += size(step.packed[i]).value_or(0);
  return sum + written;
}

// How many times fewer products an algorithm makes than the definition does (kernels/cpu/conv/winograd_scheme.h,
// kernels/cpu/gemm/strassen.h, kernels/cpu/gemm/fip_kernel.h).
constexpr std::pair<std::string_view, double> kSaved[] = {
    {"cpu.conv_winograd_f4", 4},
    {"cpu.conv_winograd_f5", 225. / 49},
    {"cpu.conv_winograd_f2", 2.25},
    {"cpu.conv_winograd_s2_f4", 144. / 81},
    {"cpu.conv_winograd_s2_f2", 36. / 25},
    {"cpu.conv_winograd_f4_k4", 256. / 49},
    {"cpu.conv_winograd_phases", 4},  // of 7x7 at stride 2; others save less
    {"cpu.conv_strassen", 8. / 7},
    {"cpu.gemm_strassen", 8. / 7},
    {"cpu.conv_fip", 1.5},
    {"cpu.gemm_fip", 1.5},
    {"cpu.conv_strassen_fip", 8. / 7 * 1.5},
    {"cpu.gemm_strassen_fip", 8. / 7 * 1.5},
    {"cpu.conv_winograd_f4_fip", 4 * 1.5},
    {"cpu.conv_winograd_f5_fip", 225. / 49 * 1.5},
    {"cpu.conv_winograd_s2_f4_fip", 144. / 81 * 1.5},
    {"cpu.conv_winograd_f2_bf16", 2.25},
    {"cpu.conv_winograd_s2_f2_bf16", 36. / 25},
};

double saved_by(const Step& step) {
  const auto row = std::ranges::find(kSaved, step.tactic, &std::pair<std::string_view, double>::first);
  return row == std::end(kSaved) ? 1 : row->second;
}

}  // namespace

double operations_of(const Program& program, const Step& step) {
  const auto op = make_op(step.op, step.attrs);
  if (!op.ok()) return 0;
  Types outputs;
  for (int s : step.outputs) outputs.push_back(s < 0 ? TensorType() : program.slots[static_cast<size_t>(s)].type);
  return operation_count(*op, step.input_types, outputs);
}

std::optional<double> floor_us(const Program& program, const Step& step) {
  const Peaks& peaks = runs_on_gpu(step) ? program.build.gpu : program.build.cpu;
  if (!peaks.known() || !step.bodies.empty()) return std::nullopt;
  const auto bytes = bytes_of(program, step);
  if (!bytes) return std::nullopt;
  const double rate = peaks.operations_per_s(precision_of(step));
  const double computing = rate > 0 ? operations_of(program, step) / saved_by(step) / rate : 0;
  return 1e6 * program.beside(step) * std::max(computing, *bytes / peaks.bytes_per_s(*bytes));
}

}  // namespace hone
