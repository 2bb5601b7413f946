#include <cstring>

#include "tactics/tactic.h"

namespace hone {
namespace {

// Any op by its own reference evaluation. It allocates, and takes inputs of any shape.
class ReferenceKernel final : public Kernel {
 public:
  ReferenceKernel(Op op, size_t outputs) : op_(std::move(op)), outputs_(outputs) {}

  Status run(const KernelArgs& args) const override {
    Tensors inputs;
    for (const Tensor* t : args.inputs) inputs.push_back(*t);
    HONE_TRY(Tensors results, op_.evaluate({inputs, outputs_}));
    for (size_t i = 0; i < args.outputs.size(); ++i) {
      Tensor& out = *args.outputs[i];
      if (!out.defined()) {
        out = results[i];
        continue;
      }
      if (results[i].type() != out.type() || results[i].dims() != out.dims())
        return internal("{} gave {}{} where {}{} was planned", op_.name(), name(results[i].type()),
                        to_string(results[i].dims()), name(out.type()), to_string(out.dims()));
      if (out.bytes() > 0) std::memcpy(out.mutable_raw(), results[i].raw(), out.bytes());
    }
    return {};
  }

 private:
  Op op_;
  size_t outputs_;
};

std::string supports(const Problem&, const Machine&) { return {}; }
int variants(const Problem&, const Machine&) { return 1; }
Result<Prepared> prepare(const Problem&, int, const Machine&) { return Prepared{}; }
Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor>, int, const Machine&) {
  return std::unique_ptr<const Kernel>(new ReferenceKernel(problem.op, problem.outputs.size()));
}

}  // namespace

std::span<const Tactic> reference_tactics() {
  static constexpr Tactic kRows[] = {{"reference", supports, variants, prepare, make}};
  return kRows;
}

}  // namespace hone
