#pragma once

#include "ir/op.h"

namespace hone {

// dft(x, length?, axis?): the discrete Fourier transform along `axis` (the input, where there is one, else the
// attribute) of a signal whose last dim holds real parts (1) or real and imaginary parts (2). The signal is cut or
// zero-padded to `length` first. onesided: only the first length / 2 + 1 frequencies of a real signal; with inverse,
// the real signal that has them.
struct Dft {
  static constexpr std::string_view kName = "Dft";
  int64_t axis = -2;
  bool inverse = false, onesided = false;

  static void fields(auto& self, auto&& field) {
    field("axis", self.axis);
    field("inverse", self.inverse);
    field("onesided", self.onesided);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
