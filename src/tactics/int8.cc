#include "kernels/cpu/int8/int8.h"

#include "tactics/anchor.h"
#include "tactics/product.h"

namespace hone {
namespace {

// A problem seen as products of 8 bits with an epilogue, whose operands are problem inputs.
struct Sums {
  Op op;
  RequantizeForm form;  // without anything where the i32 sums are the result
};

std::optional<Sums> view_sums(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) return Sums{.op = problem.op, .form = {}};
  const Graph& body = *fused->body;
  const auto order = body.order();
  if (order.size() != 2) return std::nullopt;
  const Node &first = body.node(order[0]), &second = body.node(order[1]);
  const auto* pointwise = second.op.as<Pointwise>();
  if (pointwise == nullptr || first.inputs.size() != 2 || body.inputs().size() < 2) return std::nullopt;
  if (first.inputs[0] != body.inputs()[0] || first.inputs[1] != body.inputs()[1]) return std::nullopt;
  std::vector<Spread> spreads;
  std::vector<int> from;  // problem input of each program input
  int anchor = -1;
  for (ValueId v : second.inputs) {
    const auto at = std::find(body.inputs().begin(), body.inputs().end(), v);
    if (v == first.outputs[0]) anchor = static_cast<int>(from.size());
    from.push_back(static_cast<int>(at - body.inputs().begin()));
    spreads.push_back(spread_of(body.type(v).shape, body.type(second.outputs[0]).shape));
  }
  auto form = as_requantize(pointwise->program, anchor, spreads);
  if (!form) return std::nullopt;
  const auto to_problem = [&](int& input) {
    if (input >= 0) input = from[static_cast<size_t>(input)];
  };
  for (auto* operand : {&form->offset, &form->factor, &form->scale, &form->bias})
    if (*operand) to_problem((*operand)->input);
  to_problem(form->step.input);
  to_problem(form->row_sums);
  to_problem(form->rest.residual);
  return Sums{first.op, *form};
}

bool reads_u8(const Problem& problem) { return problem.inputs[0].dtype == DType::u8; }

// Whether the kernels take the activations for u8. Those of i8 that are never negative are the same bytes.
bool unsigned_in(const Problem& problem, const Op& op) {
  const auto* conv = op.as<Conv>();
  const auto* matmul = op.as<MatMul>();
  return reads_u8(problem) || (conv != nullptr && conv->nonnegative) || (matmul != nullptr && matmul->nonnegative);
}

std::string refuse_bytes(const Problem& problem, const Sums& sums) {
  return refuse_product(problem, sums.op, reads_u8(problem) ? DType::u8 : DType::i8, DType::i8);
}

template <bool kDepthwise>
std::string supports_conv(const Problem& problem, const Machine&) {
  const auto sums = view_sums(problem);
  const auto* conv = sums ? sums->op.as<Conv>() : nullptr;
  if (conv == nullptr) return kAnotherOp;
  if (std::string reason = refuse_bytes(problem, *sums); !reason.empty()) return reason;
  const bool depthwise = is_depthwise(conv_problem(problem, *conv));
  if (kDepthwise && depthwise && sums->form.row_sums >= 0) return "sums of rows beside one channel a group";
  if (kDepthwise == depthwise) return {};
  return kDepthwise ? "not one channel a group" : "one channel a group";
}

std::string supports_winograd(const Problem& problem, const Machine& machine) {
  if (std::string reason = supports_conv<false>(problem, machine); !reason.empty()) return reason;
  if (std::string reason = refuse_error(0, kErrorBound, machine); !reason.empty()) return reason;
  const auto sums = view_sums(problem);
  const cpu::ConvProblem p = product_geometry(problem, sums->op);
  const cpu::Int8Context context{.set = cpu::best_int8_set(tier_of(machine)),
                                 .unsigned_in = unsigned_in(problem, sums->op)};
  std::optional<cpu::Int8Weights> weights;
  if (problem.is_constant(1)) weights = product_weights<int8_t>(problem, sums->op, p);
  const char* reason = cpu::int8_winograd_refusal(p, context, weights ? &*weights : nullptr);
  return reason == nullptr ? "" : reason;
}

std::string supports_gemm(const Problem& problem, const Machine&) {
  const auto sums = view_sums(problem);
  if (!sums || sums->op.as<MatMul>() == nullptr) return kAnotherOp;
  return refuse_bytes(problem, *sums);
}

// Tiles of AMX may lose to VNNI where there are few rows.
std::vector<cpu::Int8Context> tunings(const Machine& machine) {
  const cpu::Int8Set best = cpu::best_int8_set(tier_of(machine));
  std::vector<cpu::Int8Context> list{{.set = best, .threads = machine.threads}};
  for (int split = 1; split <= (machine.threads > 1 ? 2 : 1); ++split)
    for (int rows : {48, 384})
      list.push_back({.set = best, .threads = machine.threads, .split = split, .row_block = rows});
  if (best == cpu::Int8Set::amx && cpu::has_int8_set(cpu::Int8Set::vnni))
    list.push_back({.set = cpu::Int8Set::vnni, .threads = machine.threads});
  return list;
}

cpu::Int8Context tuning(const Problem& problem, const Op& op, const Machine& machine, int variant) {
  const auto list = tunings(machine);
  cpu::Int8Context context = list[static_cast<size_t>(variant) % list.size()];
  context.unsigned_in = unsigned_in(problem, op);
  return context;
}

int variants(const Problem&, const Machine& machine) { return static_cast<int>(tunings(machine).size()); }

std::vector<cpu::Int8Context> winograd_tunings(const Problem& problem, const Machine& machine) {
  cpu::Int8Context first{.set = cpu::best_int8_set(tier_of(machine)), .threads = machine.threads};
  if (const auto sums = view_sums(problem)) first.unsigned_in = unsigned_in(problem, sums->op);
  std::vector<cpu::Int8Context> list{first};
  for (int split = 1; split <= (machine.threads > 1 ? 2 : 1); ++split)
    for (int tiles : {12, 24, 48, 96}) {
      list.push_back(first);
      list.back().split = split;
      list.back().row_block = tiles;
    }
  return list;
}

int winograd_variants(const Problem& problem, const Machine& machine) {
  return static_cast<int>(winograd_tunings(problem, machine).size());
}

cpu::Int8Context winograd_tuning(const Problem& problem, const Machine& machine, int variant) {
  const auto list = winograd_tunings(problem, machine);
  return list[static_cast<size_t>(variant) % list.size()];
}

Result<Prepared> prepare_winograd(const Problem& problem, int variant, const Machine& machine) {
  const auto sums = view_sums(problem);
  const cpu::ConvProblem p = product_geometry(problem, sums->op);
  const cpu::Int8Context context = winograd_tuning(problem, machine, variant);
  Tensor packed(DType::u8, {static_cast<int64_t>(cpu::int8_winograd_packed_bytes(p, context.set))});
  cpu::int8_winograd_pack(p, context, product_weights<int8_t>(problem, sums->op, p), packed.mutable_raw());
  return Prepared{{packed, Tensor::scalar(static_cast<int64_t>(context.set))}, {false, true}};
}

Result<Prepared> prepare(const Problem& problem, int variant, const Machine& machine) {
  const auto sums = view_sums(problem);
  const cpu::ConvProblem p = product_geometry(problem, sums->op);
  const cpu::Int8Context context = tuning(problem, sums->op, machine, variant);
  Tensor packed(DType::u8, {static_cast<int64_t>(cpu::int8_packed_bytes(p, context.set))});
  cpu::int8_pack(p, context, product_weights<int8_t>(problem, sums->op, p), packed.mutable_raw());
  return Prepared{{packed, Tensor::scalar(static_cast<int64_t>(context.set))}, {false, true}};
}

// The set that weights are packed for, once it is sure that this CPU has it and that they are of its size.
Result<cpu::Int8Set> check_packed_set(const cpu::ConvProblem& p, std::span<const Tensor> packed,
                                      size_t (*bytes)(const cpu::ConvProblem&, cpu::Int8Set)) {
  if (packed.size() != 2) return invalid("packed weights are missing");
  const int64_t set = packed[1].int_at(0);
  if (set < 0 || set > static_cast<int64_t>(cpu::Int8Set::amx)) return invalid("packed weights of no known set");
  const auto known = static_cast<cpu::Int8Set>(set);
  if (!cpu::has_int8_set(known))
    return Status(Code::device,
                  fmt::format("the engine's weights are packed for {}, which this CPU lacks: build the engine again",
                              cpu::int8_set_name(known)));
  if (packed[0].count() < static_cast<int64_t>(bytes(p, known))) return invalid("packed weights are too small");
  return known;
}

// What a channel has of its own, in places of the workspace where the problem's input is one value for all, or none.
class Channels {
 public:
  enum Place { kScale, kBias, kStep, kOffset, kFactor, kPlaces };

  explicit Channels(int64_t count) : count_(count) {}
  int64_t bytes() const { return kPlaces * stride(); }

  template <class T>
  const T* values(const EpilogueOperand& operand, const KernelArgs& args, Place place) const {
    T one = static_cast<T>(operand.value);
    if (operand.input >= 0) {
      const Tensor& given = *args.inputs[static_cast<size_t>(operand.input)];
      if (given.count() == count_) return given.data<T>();
      one = given.data<T>()[0];
    }
    auto* copies = reinterpret_cast<T*>(args.workspace + place * stride());
    std::fill_n(copies, count_, one);
    return copies;
  }

 private:
  int64_t stride() const { return (count_ * static_cast<int64_t>(sizeof(float)) + 63) / 64 * 64; }

  int64_t count_;
};

cpu::Int8Epilogue epilogue_of(const RequantizeForm& form, const Channels& channels, const KernelArgs& args) {
  cpu::Int8Epilogue e;
  if (form.offset) e.offset = channels.values<int32_t>(*form.offset, args, Channels::kOffset);
  if (form.row_sums >= 0) {
    e.row_sums = args.inputs[static_cast<size_t>(form.row_sums)]->data<int32_t>();
    e.factor = channels.values<int32_t>(*form.factor, args, Channels::kFactor);
  }
  if (!form.scale) return e;
  e.scale = channels.values<float>(*form.scale, args, Channels::kScale);
  if (form.bias) e.real.bias = channels.values<float>(*form.bias, args, Channels::kBias);
  if (form.rest.residual >= 0) {
    const Tensor& residual = *args.inputs[static_cast<size_t>(form.rest.residual)];
    if (form.residual_scale) e.residual = residual.data<int8_t>();
    else e.real.residual = residual.data<float>();
  }
  e.residual_scale = static_cast<float>(form.residual_scale.value_or(1));
  e.residual_zero = static_cast<float>(form.residual_zero);
  e.real.act = activation_of(form.rest.activation);
  e.real.a = static_cast<float>(form.rest.a);
  e.real.b = static_cast<float>(form.rest.b);
  e.real.residual_after_activation = form.rest.residual_after_activation;
  e.quantized = form.quantized;
  const bool stepped = form.quantized && (form.step.input >= 0 || form.step.value != 1);
  if (stepped) e.step = channels.values<float>(form.step, args, Channels::kStep);
  e.divides = form.divides;
  e.zero = static_cast<int>(form.zero);
  e.low = static_cast<float>(form.low);
  e.high = static_cast<float>(form.high);
  return e;
}

// A kernel that calls run(arguments) with what a run of the engine gives.
template <class Run>
Result<std::unique_ptr<const Kernel>> make_kernel(const Sums& sums, int64_t channel_count, const Tensor& weights,
                                                  size_t workspace, Run run) {
  const Channels channels(channel_count);
  return kernel(
      [form = sums.form, channels, weights, run](const KernelArgs& args) -> Status {
        cpu::Int8Args call{.in = args.inputs[0]->raw(),
                           .packed = weights.raw(),
                           .out = args.outputs[0]->mutable_raw(),
                           .epilogue = epilogue_of(form, channels, args),
                           .pool = &args.pool};
        call.workspace = args.workspace + channels.bytes();
        run(call);
        return {};
      },
      channels.bytes() + static_cast<int64_t>(workspace));
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int variant,
                                           const Machine& machine) {
  const auto sums = view_sums(problem);
  const cpu::ConvProblem p = product_geometry(problem, sums->op);
  cpu::Int8Context context = tuning(problem, sums->op, machine, variant);
  HONE_TRY(context.set, check_packed_set(p, packed, cpu::int8_packed_bytes));
  return make_kernel(*sums, p.cout, packed[0], cpu::int8_workspace_bytes(p, context),
                     [p, context](const cpu::Int8Args& args) { cpu::int8_conv(p, context, args); });
}

Result<std::unique_ptr<const Kernel>> make_winograd(const Problem& problem, std::span<const Tensor> packed, int variant,
                                                    const Machine& machine) {
  const auto sums = view_sums(problem);
  const cpu::ConvProblem p = product_geometry(problem, sums->op);
  cpu::Int8Context context = winograd_tuning(problem, machine, variant);
  HONE_TRY(context.set, check_packed_set(p, packed, cpu::int8_winograd_packed_bytes));
  return make_kernel(*sums, p.cout, packed[0], cpu::int8_winograd_workspace_bytes(p, context),
                     [p, context](const cpu::Int8Args& args) { cpu::int8_winograd(p, context, args); });
}

Result<Prepared> prepare_depthwise(const Problem& problem, int, const Machine&) {
  const auto sums = view_sums(problem);
  const cpu::ConvProblem p = product_geometry(problem, sums->op);
  Tensor packed(DType::u8, {static_cast<int64_t>(cpu::int8_depthwise_packed_bytes(p))});
  cpu::int8_depthwise_pack(p, product_weights<int8_t>(problem, sums->op, p), packed.mutable_raw());
  return Prepared{{packed}, {false, true}};
}

Result<std::unique_ptr<const Kernel>> make_depthwise(const Problem& problem, std::span<const Tensor> packed, int,
                                                     const Machine& machine) {
  const auto sums = view_sums(problem);
  const cpu::ConvProblem p = product_geometry(problem, sums->op);
  if (packed.size() != 1 || packed[0].count() < static_cast<int64_t>(cpu::int8_depthwise_packed_bytes(p)))
    return invalid("packed weights are missing or too small");
  const cpu::Int8Context context{.set = cpu::best_int8_set(tier_of(machine)),
                                 .unsigned_in = unsigned_in(problem, sums->op),
                                 .threads = machine.threads};
  Tensor ready(DType::u8, {static_cast<int64_t>(cpu::int8_depthwise_ready_bytes(p, context))});
  cpu::int8_depthwise_ready(p, context, packed[0].raw(), ready.mutable_raw());
  return make_kernel(*sums, p.cout, ready, cpu::int8_depthwise_workspace_bytes(p, context),
                     [p, context](const cpu::Int8Args& args) { cpu::int8_depthwise(p, context, args); });
}

// A residual of the result's type may be overwritten by it: each element is read before it is written.
int in_place(const Problem& problem) {
  const auto sums = view_sums(problem);
  const int residual = sums ? sums->form.rest.residual : -1;
  return residual >= 0 && problem.inputs[static_cast<size_t>(residual)] == problem.outputs[0] ? residual : -1;
}

}  // namespace

std::span<const Tactic> int8_tactics() {
  static constexpr Tactic kRows[] = {{"cpu.conv_int8_depthwise", supports_conv<true>, one_variant, prepare_depthwise,
                                      make_depthwise, in_place, drops_second},
                                     {.name = "cpu.conv_int8_winograd",
                                      .supports = supports_winograd,
                                      .variants = winograd_variants,
                                      .prepare = prepare_winograd,
                                      .make = make_winograd,
                                      .in_place = in_place,
                                      .drops = drops_second},
                                     {.name = "cpu.conv_int8",
                                      .supports = supports_conv<false>,
                                      .variants = variants,
                                      .prepare = prepare,
                                      .make = make,
                                      .in_place = in_place,
                                      .drops = drops_second,
                                      .packs_by_variant = true},
                                     {.name = "cpu.gemm_int8",
                                      .supports = supports_gemm,
                                      .variants = variants,
                                      .prepare = prepare,
                                      .make = make,
                                      .in_place = in_place,
                                      .drops = drops_second,
                                      .packs_by_variant = true}};
  return kRows;
}

}  // namespace hone
