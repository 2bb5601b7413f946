#include "base/cpu_info.h"
#include "cuda/cublaslt.h"
#include "cuda/device.h"
#include "cuda/nvrtc.h"
#include "kernels/cpu/bf16/bf16.h"
#include "tools/common.h"

namespace hone::tools {
namespace {

struct Gpus {
  std::vector<cuda::Device> devices;
  std::string missing;          // why there are none, or empty
  std::string nvrtc, cublaslt;  // their versions, or why they cannot be had
  bool has_nvrtc = false, has_cublaslt = false;
};

Gpus find_gpus() {
  Gpus gpus;
  auto devices = cuda::devices();
  if (devices.ok()) gpus.devices = *devices;
  else gpus.missing = devices.status().message();
  const auto nvrtc = cuda::nvrtc_version();
  gpus.has_nvrtc = nvrtc.ok();
  gpus.nvrtc = nvrtc.ok() ? *nvrtc : nvrtc.status().message();
  const auto cublaslt = cuda::cublaslt_version();
  gpus.has_cublaslt = cublaslt.ok();
  gpus.cublaslt = cublaslt.ok()
                      ? cublaslt->number()
                      : cublaslt.status().message() + " (without it, matrix products use Hone's kernels alone)";
  return gpus;
}

Json gpu_json(const cuda::Device& d) {
  return {{"name", d.name},
          {"arch", d.arch()},
          {"multiprocessors", d.multiprocessors},
          {"memory_bytes", d.memory_bytes},
          {"l2_bytes", d.l2_bytes}};
}

Status doctor(const Output& output) {
  const cpu::CpuInfo& info = cpu::cpu_info();
  Json features = Json::array();
  for (const auto& f : info.features) features.push_back(f);
  const Gpus gpus = find_gpus();
  Json cards = Json::array();
  std::vector<std::string> targets{"cpu", "reference"};
  for (const cuda::Device& d : gpus.devices) {
    cards.push_back(gpu_json(d));
    targets.push_back(fmt::format("cuda:{}", d.ordinal));
  }
  const auto bf16 = cpu::best_bf16_set();
  const Json json{{"cpu",
                   {{"model", info.model},
                    {"usable_cpus", cpu::usable_cpu_count()},
                    {"tier", cpu::tier_name(cpu::best_tier())},
                    {"features", features},
                    {"bf16", bf16 ? Json(cpu::bf16_set_name(*bf16)) : Json()},
                    {"l1d_bytes", info.l1d},
                    {"l2_bytes", info.l2},
                    {"l3_bytes", info.l3}}},
                  {"tactic_cache", default_cache_path()},
                  {"gpus", cards},
                  {"nvrtc", gpus.has_nvrtc ? Json(gpus.nvrtc) : Json()},
                  {"cublaslt", gpus.has_cublaslt ? Json(gpus.cublaslt) : Json()},
                  {"targets", targets}};
  HONE_CHECK(output.write(json));
  if (!output.shows_table()) return {};
  fmt::print("cpu            {} ({} usable)\n", info.model, cpu::usable_cpu_count());
  fmt::print("kernels        {}\n", cpu::tier_name(cpu::best_tier()));
  fmt::print("bf16           {}\n", bf16 ? cpu::bf16_set_name(*bf16) : "none: --precision bf16 leaves a CPU at fp32");
  fmt::print("caches         L1d {} KiB, L2 {} KiB, L3 {} KiB\n", info.l1d >> 10, info.l2 >> 10, info.l3 >> 10);
  fmt::print("features       {}\n", fmt::join(info.features, " "));
  fmt::print("tactic cache   {}\n", default_cache_path());
  for (const cuda::Device& d : gpus.devices)
    fmt::print("gpu {}          {} ({}, {} multiprocessors, {} MiB)\n", d.ordinal, d.name, d.arch(), d.multiprocessors,
               d.memory_bytes >> 20);
  if (!gpus.missing.empty()) fmt::print("gpu            none: {}\n", gpus.missing);
  fmt::print("NVRTC          {}\n", gpus.nvrtc);
  fmt::print("cuBLASLt       {}\n", gpus.cublaslt);
  fmt::print("targets        {}\n", fmt::join(targets, ", "));
  if (cpu::best_tier() == cpu::Tier::avx2)
    fmt::print("note           no AVX-512: kernels run at half the vector width\n");
  if (cpu::best_tier() == cpu::Tier::scalar)
    fmt::print("note           no AVX2: kernels run on the baseline instruction set\n");
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
