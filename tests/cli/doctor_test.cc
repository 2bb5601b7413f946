// `hone doctor`, on a machine that lacks something.
#include "cli/cli.h"
#include "kernels/cpu/bf16/bf16.h"

namespace hone {
namespace {

TEST_F(Cli, DoctorSaysWhichLibrariesAreMissingAndWhatIsLost) {
  setenv("HONE_CUBLASLT", path("none.so").c_str(), 1);
  setenv("HONE_CUDNN", path("neither.so").c_str(), 1);
  const Outcome text = hone({"doctor"});
  const nlohmann::json missing = json(hone({"doctor", "--json", "-"}));
  unsetenv("HONE_CUBLASLT");
  unsetenv("HONE_CUDNN");
  EXPECT_EQ(text.status, 0) << text.err;
  expect_words(text.out, {"cuBLASLt", "none.so", "HONE_CUBLASLT", "without it"});
  expect_words(text.out, {"cuDNN", "neither.so", "HONE_CUDNN", "without it, convolutions"});
  EXPECT_TRUE(missing.at("cublaslt").is_null()) << missing;
  EXPECT_TRUE(missing.at("cudnn").is_null()) << missing;
}

TEST_F(Cli, DoctorSaysWhatComputesBf16) {
  const auto set = cpu::best_bf16_set();
  const nlohmann::json cpu = json(hone({"doctor", "--json", "-"})).at("cpu");
  EXPECT_EQ(cpu.at("bf16"), set ? nlohmann::json(cpu::bf16_set_name(*set)) : nlohmann::json());
}

}  // namespace
}  // namespace hone
