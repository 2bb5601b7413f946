#pragma once

#include <concepts>
#include <memory>
#include <span>
#include <string_view>
#include <typeinfo>

#include "ir/attr.h"
#include "ir/type.h"

namespace hone {

// What shape inference may look at. Absent optional inputs have an undefined type; `values` holds the inputs that are
// constants (else undefined tensors).
struct InferArgs {
  std::span<const TensorType> types;
  std::span<const Tensor> values;
  size_t outputs = 1;  // how many the node has

  const TensorType& type(size_t i) const;            // undefined when absent
  const Tensor& value(size_t i) const;               // undefined when absent or not constant
  bool has(size_t i) const { return type(i).defined(); }
};

struct EvalArgs {
  std::span<const Tensor> inputs;
  size_t outputs = 1;

  const Tensor& operator[](size_t i) const;  // undefined when absent
  bool has(size_t i) const { return (*this)[i].defined(); }
};

using Types = std::vector<TensorType>;
using Tensors = std::vector<Tensor>;

// What a struct must have to be an op. Optional members:
//   static constexpr bool kPure = false;  // random: not folded, not merged
//   static constexpr bool kView = true;   // the output is input 0's elements in the same order under another shape
template <class T>
concept OpLike = std::copyable<T> && requires(const T& op, const InferArgs& infer, const EvalArgs& eval) {
  { T::kName } -> std::convertible_to<std::string_view>;
  { op.infer(infer) } -> std::same_as<Result<Types>>;
  { op.evaluate(eval) } -> std::same_as<Result<Tensors>>;
};

// Any op behind one handle: a value, cheap to copy, immutable.
class Op {
 public:
  Op() = default;
  template <class T>
    requires(!std::same_as<T, Op>) && OpLike<T>
  Op(T op) : model_(std::make_shared<Model<T>>(std::move(op))) {}

  std::string_view name() const { return model_->name(); }
  Attrs attrs() const { return model_->attrs(); }
  bool pure() const { return model_->pure(); }
  bool view() const { return model_->view(); }
  Result<Types> infer(const InferArgs& args) const { return model_->infer(args); }
  // Reference evaluation: doubles inside for floats, exact for integers. Needs nothing but its inputs; thread safe.
  Result<Tensors> evaluate(const EvalArgs& args) const { return model_->evaluate(args); }

  // The struct inside, or null when it is another op.
  template <class T>
  const T* as() const {
    const auto* model = dynamic_cast<const Model<T>*>(model_.get());
    return model ? &model->op : nullptr;
  }

  bool operator==(const Op& other) const {
    return model_ == other.model_ || (name() == other.name() && attrs_equal(attrs(), other.attrs()));
  }

 private:
  static bool attrs_equal(const Attrs& a, const Attrs& b);

  struct Concept {
    virtual ~Concept() = default;
    virtual std::string_view name() const = 0;
    virtual Attrs attrs() const = 0;
    virtual bool pure() const = 0;
    virtual bool view() const = 0;
    virtual Result<Types> infer(const InferArgs&) const = 0;
    virtual Result<Tensors> evaluate(const EvalArgs&) const = 0;
  };
  template <class T>
  struct Model final : Concept {
    explicit Model(T o) : op(std::move(o)) {}
    std::string_view name() const override { return T::kName; }
    Attrs attrs() const override { return attrs_of(op); }
    bool pure() const override {
      if constexpr (requires { T::kPure; }) return T::kPure;
      return true;
    }
    bool view() const override {
      if constexpr (requires { T::kView; }) return T::kView;
      return false;
    }
    Result<Types> infer(const InferArgs& args) const override { return op.infer(args); }
    Result<Tensors> evaluate(const EvalArgs& args) const override { return op.evaluate(args); }
    T op;
  };

  std::shared_ptr<const Concept> model_;
};

// How the text form and engine files find an op by name; filled by the ops room.
using OpFactory = Result<Op> (*)(const Attrs&);
struct OpRow {
  std::string_view name;
  OpFactory make;
};
std::span<const OpRow> op_table();
Result<Op> make_op(std::string_view name, const Attrs& attrs);

}  // namespace hone
