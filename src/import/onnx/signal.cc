#include "ops/signal.h"

#include "import/onnx/importer.h"
#include "import/onnx/positions.h"
#include "ops/gather.h"
#include "ops/generate.h"

namespace hone::import_onnx {
namespace {

void import_dft(NodeImport& n) {
  const int64_t axis = n.opset() < 20 ? n.i("axis", 1) : -2;
  std::vector<ValueId> inputs = n.inputs();
  while (inputs.size() > 1 && inputs.back() == ValueId::none) inputs.pop_back();
  n.output(0, n.add(Dft{axis, n.i("inverse") != 0, n.i("onesided") != 0}, std::move(inputs)));
}

// Frames of the signal [batch, length, parts] are gathered to [batch, frame, sample, parts], windowed and transformed.
void import_stft(NodeImport& n) {
  const ValueId signal = n.input(0);
  if (n.rank(signal) != 3) return n.invalid("the signal is {}, not [batch, length, 1 or 2]", to_text(n.type(signal)));
  const ValueId step = to_scalar(n, n.cast(n.input(1), DType::i64));
  if (!n.has_input(2) && !n.has_input(3)) return n.invalid("neither a window nor a frame length is given");
  const ValueId size = n.has_input(3) ? to_scalar(n, n.cast(n.input(3), DType::i64)) : dim_of(n, n.input(2), 0);
  const ValueId last = n.pointwise(Fn::sub, {dim_of(n, signal, 1), size});
  const ValueId one = n.constant(Tensor::scalar(int64_t{1})), zero = n.constant(Tensor::scalar(int64_t{0}));
  const ValueId starts = n.add(Range{}, {zero, n.pointwise(Fn::add, {last, one}), step});
  const ValueId indices = n.pointwise(Fn::add, {along(n, starts, 0, 2), along(n, range(n, size), 1, 2)});
  ValueId frames = n.add(Gather{1}, {signal, indices});
  if (n.has_input(2)) frames = n.pointwise(Fn::mul, {frames, along(n, n.input(2), 2, 4)});
  n.output(0, n.add(Dft{2, false, n.i("onesided", 1) != 0}, {frames}));
}

}  // namespace

std::span<const ImporterRow> signal_importers() {
  static constexpr ImporterRow kRows[] = {
      {"DFT", import_dft},
      {"STFT", import_stft},
  };
  return kRows;
}

}  // namespace hone::import_onnx
