#include "base/pointwise.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace hone {
namespace {

struct Row {
  std::string_view name;
  int arity;
};
constexpr Row kRows[] = {
#define X(name, arity) {#name, arity},
    HONE_POINTWISE_FUNCTIONS(X)
#undef X
};

std::string_view trim(std::string_view s) {
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
  return s;
}

// Cuts `s` at the first `mark`; the part before is returned, `s` keeps what follows.
std::string_view cut(std::string_view& s, char mark) {
  const size_t at = std::min(s.find(mark), s.size());
  std::string_view head = s.substr(0, at);
  s.remove_prefix(std::min(at + 1, s.size()));
  return trim(head);
}

bool to_int(std::string_view s, int32_t& value) {
  return std::from_chars(s.data(), s.data() + s.size(), value).ptr == s.data() + s.size() && !s.empty();
}

Result<PointwiseInstr> parse_instr(std::string_view text, int32_t index) {
  const auto bad = [&] { return invalid("pointwise instruction '{}' is malformed", text); };
  std::string_view rest = text;
  const std::string_view head = cut(rest, ':');
  std::string_view tail = rest;
  std::string_view type_name = cut(rest, '(');
  PointwiseInstr instr;
  const auto type = dtype_from_name(type_name);
  if (!type) return bad();
  instr.type = *type;
  if (head.starts_with("in") && to_int(head.substr(2), instr.input)) {
    if (instr.input < 0 || instr.input > 1000 || tail.find('(') != std::string_view::npos) return bad();
    return instr;
  }
  const auto row = std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& r) { return r.name == head; });
  if (row == std::end(kRows) || row == std::begin(kRows)) return bad();
  instr.fn = static_cast<Fn>(row - std::begin(kRows));
  if (tail.find('(') == std::string_view::npos || !rest.ends_with(')')) return bad();
  rest.remove_suffix(1);
  if (instr.fn == Fn::constant) {
    const std::string number(trim(rest));
    char* end = nullptr;
    instr.value = std::strtod(number.c_str(), &end);
    if (number.empty() || *end != 0) return bad();
    return instr;
  }
  for (int i = 0; i < row->arity; ++i) {
    if (!to_int(cut(rest, ','), instr.operand[i])) return bad();
    if (instr.operand[i] < 0 || instr.operand[i] >= index) return bad();
  }
  return rest.empty() ? Result<PointwiseInstr>(instr) : bad();
}

std::string to_text(const PointwiseInstr& instr) {
  if (instr.fn == Fn::input) return fmt::format("in{}:{}", instr.input, name(instr.type));
  if (instr.fn == Fn::constant) return fmt::format("constant:{}({})", name(instr.type), instr.value);
  return fmt::format("{}:{}({})", name(instr.fn), name(instr.type),
                     fmt::join(instr.operand, instr.operand + arity(instr.fn), ","));
}

}  // namespace

std::string_view name(Fn fn) { return kRows[static_cast<size_t>(fn)].name; }
int arity(Fn fn) { return kRows[static_cast<size_t>(fn)].arity; }

int PointwiseProgram::inputs() const {
  int n = 0;
  for (const auto& instr : code) n = std::max(n, instr.input + 1);
  return n;
}

std::string to_text(const PointwiseProgram& program) {
  std::string text;
  for (const auto& instr : program.code) text += (text.empty() ? "" : "; ") + to_text(instr);
  return text;
}

Result<PointwiseProgram> pointwise_from_text(std::string_view text) {
  PointwiseProgram program;
  while (!trim(text).empty()) {
    HONE_TRY(auto instr, parse_instr(cut(text, ';'), static_cast<int32_t>(program.code.size())));
    program.code.push_back(instr);
  }
  if (program.code.empty()) return invalid("a pointwise program is empty");
  return program;
}

PointwiseProgram single(Fn fn, DType type, DType result) {
  PointwiseProgram program;
  const int n = arity(fn);
  PointwiseInstr last{.fn = fn, .type = result};
  for (int i = 0; i < n; ++i) {
    program.code.push_back({.fn = Fn::input, .type = type, .input = i});
    last.operand[i] = i;
  }
  program.code.push_back(last);
  return program;
}

}  // namespace hone
