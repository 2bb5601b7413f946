#include "base/cpu_info.h"
#include "tools/common.h"

namespace hone::tools {
namespace {

Status doctor(const Output& output) {
  const cpu::CpuInfo& info = cpu::cpu_info();
  Json features = Json::array();
  for (const auto& f : info.features) features.push_back(f);
  const Json json{{"cpu", {{"model", info.model}, {"usable_cpus", cpu::usable_cpu_count()}, {"tier", cpu::tier_name(cpu::best_tier())},
                           {"features", features}, {"l1d_bytes", info.l1d}, {"l2_bytes", info.l2}, {"l3_bytes", info.l3}}},
                  {"tactic_cache", default_cache_path()}, {"targets", {"cpu", "reference"}}};
  HONE_CHECK(output.write(json));
  if (!output.shows_table()) return {};
  fmt::print("cpu            {} ({} usable)\n", info.model, cpu::usable_cpu_count());
  fmt::print("kernels        {}\n", cpu::tier_name(cpu::best_tier()));
  fmt::print("caches         L1d {} KiB, L2 {} KiB, L3 {} KiB\n", info.l1d >> 10, info.l2 >> 10, info.l3 >> 10);
  fmt::print("features       {}\n", fmt::join(info.features, " "));
  fmt::print("tactic cache   {}\n", default_cache_path());
  fmt::print("targets        cpu, reference\n");
  if (cpu::best_tier() == cpu::Tier::avx2) fmt::print("note           no AVX-512: kernels run at half the vector width\n");
  if (cpu::best_tier() == cpu::Tier::scalar) fmt::print("note           no AVX2: kernels run on the baseline instruction set\n");
  return {};
}

}  // namespace

void add_doctor(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand("doctor", "Say what devices and instruction sets were found");
  auto output = std::make_shared<Output>();
  output->add_to(*sub);
  sub->callback([output, &exit] { exit = report(doctor(*output)); });
}

}  // namespace hone::tools
