#include "ops/quantize.h"

#include "base/cpu_info.h"
#include "tactic_testing.h"

namespace hone {
namespace {

// The three results of the tactic's kernel.
Tensors run_dynamic(const Tensor& x, const Machine& machine) {
  const Tactic& tactic = *find_tactic("cpu.dynamic_quantize");
  const Problem problem{
      .op = DynamicQuantize{},
      .inputs = {type_of(x)},
      .outputs = {{DType::u8, Shape::of(x.dims())}, {DType::f32, Shape::of({})}, {DType::u8, Shape::of({})}}};
  EXPECT_EQ(tactic.supports(problem, machine), "");
  auto kernel = tactic.make(problem, {}, 0, machine);
  EXPECT_TRUE(kernel.ok());
  Tensors out{Tensor(DType::u8, x.dims()), Tensor(DType::f32, {}), Tensor(DType::u8, {})};
  Tensor workspace(DType::u8, {(*kernel)->workspace_bytes() + 64});
  auto* at = static_cast<std::byte*>(workspace.mutable_raw());
  at += -reinterpret_cast<uintptr_t>(at) & 63;
  const Tensor* from[] = {&x};
  Tensor* to[] = {&out[0], &out[1], &out[2]};
  cpu::ThreadPool pool(machine.threads);
  EXPECT_TRUE((*kernel)->run({.inputs = from, .outputs = to, .workspace = at, .pool = pool}).ok());
  return out;
}

TEST(QuantizeTactics, DynamicIsTheReference) {
  Tensor with_nan = random_tensor(DType::f32, {3, 41}, 1, -2, 2);
  with_nan.set(77, NAN);
  for (const Tensor& x : {random_tensor(DType::f32, {3, 4001}, 1, -5, 2), random_tensor(DType::f32, {7, 3}, 1, 2, 3),
                          Tensor(DType::f32, {5}), Tensor(DType::f32, {0, 3}), with_nan}) {
    const Tensors inputs{x};
    const auto want = DynamicQuantize{}.evaluate({inputs, 3});
    ASSERT_TRUE(want.ok()) << want.status().message();
    for (int tier = 0; tier <= static_cast<int>(cpu::best_tier()); ++tier) {
      for (int threads : {1, 2}) {
        const Tensors got = run_dynamic(x, {.threads = threads, .max_tier = tier});
        for (size_t k = 0; k < 3; ++k) {
          ASSERT_EQ(got[k].dims(), (*want)[k].dims());
          for (int64_t i = 0; i < got[k].count(); ++i)
            ASSERT_TRUE(got[k].at(i) == (*want)[k].at(i) || (std::isnan(got[k].at(i)) && std::isnan((*want)[k].at(i))))
                << "result " << k << " at " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace hone
