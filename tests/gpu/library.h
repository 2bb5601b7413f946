#pragma once

#include <gtest/gtest.h>

#include "cuda/device.h"
#include "tactics/tactic.h"

// What the tests of cuBLASLt's and cuDNN's tactics on a GPU share.
namespace hone {

// Skips without a GPU, or without the library, whose version kVersion() gives.
template <class Base, auto kVersion>
class WithLibrary : public Base {
 protected:
  void SetUp() override {
    const auto devices = cuda::devices();
    if (!devices.ok()) GTEST_SKIP() << devices.status().message();
    if (const auto version = kVersion(); !version.ok()) GTEST_SKIP() << version.status().message();
    machine_ = {.cuda_arch = (*devices)[0].arch(), .cuda_device = 0, .tf32 = true};
  }
  Machine machine_;
};

// What is done to a product, as a program of values of `type`, computed in f32.
inline std::string program_of(DType type, bool residual, const std::string& activation) {
  std::string code;
  int count = 0;
  const auto add = [&](const std::string& instr) {
    code += (count > 0 ? "; " : "") + instr;
    return count++;
  };
  const auto input = [&](int i) {
    const int at = add(fmt::format("in{}:{}", i, name(type)));
    return type == DType::f32 ? at : add(fmt::format("cast:f32({})", at));
  };
  int value = input(0);
  if (residual) {
    const int other = input(1);
    value = add(fmt::format("add:f32({},{})", value, other));
  }
  if (!activation.empty()) value = add(fmt::format("{}:f32({})", activation, value));
  if (type != DType::f32) add(fmt::format("cast:{}({})", name(type), value));
  return code;
}

}  // namespace hone
