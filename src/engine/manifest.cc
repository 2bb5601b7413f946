#include "engine/manifest.h"

#include <algorithm>

#include "base/counted.h"
#include "engine/strict_json.h"
#include "ir/graph.h"

namespace hone {
namespace {

using Json = StrictJson;
using GraphPtr = std::shared_ptr<const Graph>;

constexpr int64_t kAlign = 64;  // of slots and workspaces
constexpr int kMaxDepth = 64;   // of control steps
constexpr std::string_view kKinds[] = {"input", "constant", "arena", "alias", "dynamic"};

Json attr_json(const Attr& attr) {
  if (const auto* graph = std::get_if<GraphPtr>(&attr)) return Json{{"graph", to_text(**graph)}};
  // Infinities and NaN are no JSON numbers.
  if (const auto* real = std::get_if<double>(&attr)) return Json{{"real", fmt::format("{}", *real)}};
  if (const auto* reals = std::get_if<std::vector<double>>(&attr)) {
    Json list = Json::array();
    for (double v : *reals) list.push_back(fmt::format("{}", v));
    return Json{{"reals", list}};
  }
  return std::visit(
      [](const auto& v) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, GraphPtr>) return nullptr;
        else return v;
      },
      attr);
}

Attr attr_from(const Json& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_string()) return json.get<std::string>();
  if (json.is_array()) {
    if (!json.empty() && json[0].is_string()) return json.get<std::vector<std::string>>();
    return json.get<std::vector<int64_t>>();
  }
  if (json.contains("real")) return std::stod(json["real"].get<std::string>());
  if (json.contains("reals")) {
    std::vector<double> reals;
    for (const Json& v : json["reals"]) reals.push_back(std::stod(v.get<std::string>()));
    return reals;
  }
  auto graph = graph_from_text(json.at("graph").get<std::string>());
  if (!graph.ok()) throw std::runtime_error(graph.status().message());
  return GraphPtr(std::make_shared<Graph>(std::move(*graph)));
}

std::string type_text(const TensorType& type) { return type.defined() ? to_text(type) : ""; }

TensorType type_from(const Json& json) {
  const auto text = json.get<std::string>();
  if (text.empty()) return {};
  auto type = type_from_text(text);
  if (!type.ok()) throw std::runtime_error(type.status().message());
  return *type;
}

Json slot_json(const Slot& slot) {
  Json json{{"kind", kKinds[static_cast<size_t>(slot.kind)]}, {"type", type_text(slot.type)}};
  if (!slot.name.empty()) json["name"] = slot.name;
  const bool part = slot.kind == Slot::Kind::alias && slot.offset != 0;
  if (slot.kind == Slot::Kind::arena || part) json["offset"] = slot.offset;
  if (slot.kind == Slot::Kind::constant) json["tensor"] = slot.tensor;
  if (slot.kind == Slot::Kind::alias) json["alias_of"] = slot.alias_of;
  return json;
}

Slot slot_from(const Json& json) {
  Slot slot;
  const auto kind = json.at("kind").get<std::string>();
  const auto row = std::find(std::begin(kKinds), std::end(kKinds), kind);
  if (row == std::end(kKinds)) throw std::runtime_error("slot of unknown kind");
  slot.kind = static_cast<Slot::Kind>(row - std::begin(kKinds));
  slot.type = type_from(json.at("type"));
  slot.name = json.value("name", "");
  slot.offset = json.value("offset", int64_t{0});
  slot.alias_of = json.value("alias_of", -1);
  slot.tensor = json.value("tensor", -1);
  return slot;
}

Json bodies_json(const std::vector<Body>& bodies) {
  Json list = Json::array();
  for (const Body& b : bodies) list.push_back({{"steps", b.steps}, {"inputs", b.inputs}, {"outputs", b.outputs}});
  return list;
}

std::vector<Body> bodies_from(const Json& json) {
  std::vector<Body> list;
  for (const Json& b : json)
    list.push_back({b.at("steps"), b.at("inputs").get<std::vector<int>>(), b.at("outputs").get<std::vector<int>>()});
  return list;
}

Json step_json(const Step& step) {
  Json attrs = Json::object(), types = Json::array(), refused = Json::array();
  for (const auto& [key, value] : step.attrs) attrs[key] = attr_json(value);
  for (const TensorType& t : step.input_types) types.push_back(type_text(t));
  for (const auto& [tactic, reason] : step.refused) refused.push_back({{"tactic", tactic}, {"reason", reason}});
  return {{"tactic", step.tactic},
          {"variant", step.variant},
          {"op", step.op},
          {"attrs", attrs},
          {"inputs", step.inputs},
          {"outputs", step.outputs},
          {"packed", step.packed},
          {"types", types},
          {"workspace_offset", step.workspace_offset},
          {"workspace_bytes", step.workspace_bytes},
          {"sources", step.sources},
          {"label", step.label},
          {"time_us", step.time_us},
          {"refused", refused},
          {"bodies", bodies_json(step.bodies)},
          {"varies", step.varies},
          {"library", step.library},
          {"algorithm", step.algorithm},
          {"stream", step.stream},
          {"threads", step.threads},
          {"waits", step.waits}};
}

Step step_from(const Json& json) {
  Step step;
  step.tactic = json.at("tactic");
  step.variant = json.at("variant");
  step.op = json.at("op");
  for (const auto& [key, value] : json.at("attrs").items()) step.attrs.emplace(key, attr_from(value));
  step.inputs = json.at("inputs").get<std::vector<int>>();
  step.outputs = json.at("outputs").get<std::vector<int>>();
  step.packed = json.at("packed").get<std::vector<int>>();
  for (const Json& t : json.at("types")) step.input_types.push_back(type_from(t));
  step.workspace_offset = json.at("workspace_offset");
  step.workspace_bytes = json.at("workspace_bytes");
  step.sources = json.at("sources").get<std::vector<std::string>>();
  step.label = json.at("label");
  step.time_us = json.at("time_us");
  for (const Json& r : json.at("refused")) step.refused.emplace_back(r.at("tactic"), r.at("reason"));
  step.bodies = bodies_from(json.at("bodies"));
  step.varies = json.value("varies", "");
  step.library = json.value("library", "");
  step.algorithm = json.value("algorithm", "");
  step.stream = json.at("stream");
  step.threads = json.at("threads");
  step.waits = json.at("waits").get<std::vector<int>>();
  return step;
}

Json peaks_json(const Peaks& peaks) {
  Json bandwidths = Json::array();
  for (const Bandwidth& b : peaks.bandwidths)
    bandwidths.push_back({{"bytes", b.bytes}, {"bytes_per_s", b.bytes_per_s}});
  return {{"rates", peaks.rates}, {"bandwidths", bandwidths}};
}

std::optional<double> number_from(const Json& json) {
  return json.is_null() ? std::nullopt : std::optional(json.get<double>());
}

std::vector<LayerPrecision> layers_from(const Json& json) {
  std::vector<LayerPrecision> layers;
  for (const Json& l : json)
    layers.push_back({l.at("name"), l.at("precision"), number_from(l.at("range")).value_or(0),
                      number_from(l.at("sqnr_db")), number_from(l.at("won_us")), l.at("reason")});
  return layers;
}

Peaks peaks_from(const Json& json) {
  Peaks peaks;
  json.at("rates").get_to(peaks.rates);
  for (const Json& b : json.at("bandwidths")) peaks.bandwidths.push_back({b.at("bytes"), b.at("bytes_per_s")});
  return peaks;
}

Json bindings_json(const std::vector<Binding>& bindings) {
  Json list = Json::array();
  for (const Binding& b : bindings) list.push_back({{"name", b.name}, {"slot", b.slot}, {"type", type_text(b.type)}});
  return list;
}

std::vector<Binding> bindings_from(const Json& json) {
  std::vector<Binding> list;
  for (const Json& b : json) list.push_back({b.at("name"), b.at("slot"), type_from(b.at("type"))});
  return list;
}

// The slot that owns the memory, or null when there is none.
const Slot* owner_of(const Program& program, int s) {
  const auto slot = [&](int i) {
    return i < 0 || static_cast<size_t>(i) >= program.slots.size() ? nullptr : &program.slots[static_cast<size_t>(i)];
  };
  const Slot* found = slot(s);
  while (found != nullptr && found->kind == Slot::Kind::alias) found = slot(found->alias_of);
  return found;
}

Status check_slot(const Program& program, int s) {
  const Slot& slot = program.slots[static_cast<size_t>(s)];
  if (slot.kind == Slot::Kind::alias && (slot.alias_of < 0 || slot.alias_of >= s))
    return invalid("slot {} aliases nothing", s);
  if (slot.kind == Slot::Kind::dynamic) return {};
  const auto dims = slot.type.shape.concrete();
  if (slot.kind == Slot::Kind::input && !dims) return {};
  if (!dims) return invalid("slot {} has no fixed shape", s);
  HONE_TRY(const int64_t bytes, checked_bytes(slot.type.dtype, *dims));
  const bool arena = slot.kind == Slot::Kind::arena;
  const bool flat = arena || (slot.kind == Slot::Kind::constant && slot.type.dtype != DType::string);
  if (flat && size_of(slot.type.dtype) == 0)
    return invalid("slot {} is {}, which is no flat memory", s, name(slot.type.dtype));
  const int64_t limit = program.memory.arena_bytes;
  if (arena && (slot.offset < 0 || slot.offset % kAlign != 0 || slot.offset > limit || bytes > limit - slot.offset))
    return invalid("slot {} lies outside its memory", s);
  if (slot.kind != Slot::Kind::alias) return {};
  if (owner_of(program, s)->kind == Slot::Kind::dynamic)
    return invalid("slot {} aliases memory that does not stay in place", s);
  const TensorType& owner = program.slots[static_cast<size_t>(slot.alias_of)].type;
  const auto owned = owner.shape.concrete();
  if (!owned || owner.dtype != slot.type.dtype) return invalid("slot {} is an alias of another size", s);
  if (element_count(*owned) == element_count(*dims) && slot.offset == 0) return {};
  // Parts are looked for in the arena, and in inputs, which are bound in their whole size.
  HONE_TRY(const int64_t whole, checked_bytes(owner.dtype, *owned));
  const auto size = static_cast<int64_t>(size_of(owner.dtype));
  const Slot::Kind kind = owner_of(program, s)->kind;
  if ((kind != Slot::Kind::arena && kind != Slot::Kind::input) || slot.offset < 0 || slot.offset > whole ||
      bytes > whole - slot.offset || size == 0 || slot.offset % size != 0)
    return invalid("slot {} is an alias of another size", s);
  return {};
}

bool writable(const Program& program, int s) {
  const Slot* slot = owner_of(program, s);
  return slot != nullptr && slot->kind != Slot::Kind::input && slot->kind != Slot::Kind::constant;
}

Status check_step(const Program& program, const Step& step) {
  const auto malformed = [&] { return invalid("step '{}' is malformed", step.label); };
  const auto slot = [&](int s) -> const Slot* {
    return s < 0 || static_cast<size_t>(s) >= program.slots.size() ? nullptr : &program.slots[static_cast<size_t>(s)];
  };
  if (step.inputs.size() != step.input_types.size() || step.variant < 0) return malformed();
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] == -1) continue;
    const Slot* from = slot(step.inputs[i]);
    if (!from || !agree(from->type, step.input_types[i])) return malformed();
    // A kernel for a fixed shape must not get another one.
    if (step.input_types[i].shape.concrete() && !from->type.shape.concrete()) return malformed();
  }
  // What the caller bound and the mapped weights are read only.
  for (int s : step.outputs)
    if (!writable(program, s)) return malformed();
  for (int s : step.packed)
    if (!slot(s) || slot(s)->kind != Slot::Kind::constant) return malformed();
  if (step.workspace_offset < 0 || step.workspace_offset % kAlign != 0 ||
      step.workspace_offset > program.memory.arena_bytes || step.workspace_bytes < 0 ||
      step.workspace_bytes > program.memory.arena_bytes - step.workspace_offset)
    return invalid("step '{}' has its workspace outside the arena", step.label);
  return {};
}

// A GPU's steps wait for what was launched before them. A CPU has streams of steps with one thread each, between steps
// that all threads share.
Status check_streams(const Program& program) {
  const bool gpu = !program.cuda_arch.empty();
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    if (step.threads < 0 || step.threads > (gpu ? 0 : 1))
      return invalid("step '{}' has {}", step.label, counted(step.threads, "thread"));
    if (step.stream < 0 || step.stream >= (gpu ? kMostStreams : step.threads == 1 ? program.threads : 1))
      return invalid("step '{}' is in stream {}", step.label, step.stream);
    if (!gpu && !step.waits.empty()) return invalid("step '{}' waits for others, on a CPU", step.label);
    if (step.threads == 1 && !step.bodies.empty())
      return invalid("step '{}' has one thread for its bodies", step.label);
    for (int w : step.waits)
      if (w < 0 || static_cast<size_t>(w) >= i || program.steps[static_cast<size_t>(w)].stream == step.stream)
        return invalid("step '{}' waits for step {}", step.label, w);
  }
  return {};
}

// The steps [begin, end) hold the bodies of their control steps whole.
Status check_bodies(const Program& program, size_t begin, size_t end, int depth = 0) {
  if (depth > kMaxDepth) return invalid("control steps lie more than {} deep", kMaxDepth);
  while (begin < end) {
    const Step& step = program.steps[begin++];
    for (const Body& body : step.bodies) {
      if (body.steps < 0 || static_cast<size_t>(body.steps) > end - begin)
        return invalid("step '{}' is malformed", step.label);
      for (int s : body.inputs)
        if (!writable(program, s)) return invalid("step '{}' is malformed", step.label);
      for (int s : body.outputs)
        if (!owner_of(program, s)) return invalid("step '{}' is malformed", step.label);
      HONE_CHECK(check_bodies(program, begin, begin + static_cast<size_t>(body.steps), depth + 1));
      begin += static_cast<size_t>(body.steps);
    }
  }
  return {};
}

// Marks the slots that hold a value when a step reads them. Memory of the arena is there from the start; what the steps
// make themselves is not, and what one branch makes another cannot rely on.
Status check_order(const Program& program, size_t begin, size_t end, std::vector<bool> made) {
  const auto slot = [&](int s) { return static_cast<size_t>(owner_of(program, s) - program.slots.data()); };
  while (begin < end) {
    const Step& step = program.steps[begin++];
    for (int s : step.inputs)
      if (s >= 0 && !made[slot(s)]) return invalid("step '{}' reads slot {}, in which nothing is yet", step.label, s);
    for (const Body& body : step.bodies) {
      std::vector<bool> inside = made;
      for (int s : body.inputs) inside[slot(s)] = true;
      HONE_CHECK(check_order(program, begin, begin + static_cast<size_t>(body.steps), std::move(inside)));
      begin += static_cast<size_t>(body.steps);
    }
    for (int s : step.outputs) made[slot(s)] = true;
  }
  return {};
}

Status check_weights(const Program& program) {
  const auto other_size = [] { return invalid("the weights have another size than the manifest says"); };
  int64_t left = program.memory.weights_bytes;
  for (const Slot& slot : program.slots) {
    if (slot.kind != Slot::Kind::constant || slot.type.dtype == DType::string) continue;
    HONE_TRY(const int64_t bytes, checked_bytes(slot.type.dtype, *slot.type.shape.concrete()));
    if (bytes > left) return other_size();
    left -= bytes;
  }
  return left == 0 ? Status() : other_size();
}

// An error that quotes the file, whose labels may have several.
Status in_one_line(const Status& status) {
  std::string message = status.message();
  std::ranges::replace(message, '\n', ' ');
  return {status.code(), message};
}

// What indexing at run time relies on.
Status check(const Program& program) {
  const auto slots = static_cast<int>(program.slots.size());
  if (program.memory.arena_bytes < 0 || program.memory.weights_bytes < 0) return invalid("negative memory sizes");
  for (int s = 0; s < slots; ++s) HONE_CHECK(check_slot(program, s));
  HONE_CHECK(check_weights(program));
  for (const Step& step : program.steps) HONE_CHECK(check_step(program, step));
  HONE_CHECK(check_streams(program));
  HONE_CHECK(check_bodies(program, 0, program.steps.size()));
  for (const auto* bindings : {&program.inputs, &program.outputs})
    for (const Binding& b : *bindings) {
      const Slot* slot = b.slot < 0 || b.slot >= slots ? nullptr : &program.slots[static_cast<size_t>(b.slot)];
      const bool input = bindings == &program.inputs;
      if (!slot || !agree(slot->type, b.type) || (input && slot->kind != Slot::Kind::input))
        return invalid("binding '{}' is malformed", b.name);
    }
  std::vector<bool> made;
  for (const Slot& s : program.slots) made.push_back(s.kind == Slot::Kind::constant || s.kind == Slot::Kind::arena);
  for (const Binding& b : program.inputs) made[static_cast<size_t>(b.slot)] = true;
  return check_order(program, 0, program.steps.size(), std::move(made));
}

}  // namespace

nlohmann::json precisions_json(const std::vector<LayerPrecision>& layers) {
  const auto number = [](std::optional<double> value) { return value ? Json(*value) : Json(); };
  Json list = Json::array();
  for (const LayerPrecision& l : layers)
    list.push_back({{"name", l.name},
                    {"precision", l.precision},
                    {"range", l.range > 0 ? Json(l.range) : Json()},
                    {"sqnr_db", number(l.sqnr_db)},
                    {"won_us", number(l.won_us)},
                    {"reason", l.reason}});
  return list;
}

bool agree(const TensorType& a, const TensorType& b) {
  if (a.dtype != b.dtype) return false;
  const auto from = a.shape.concrete(), to = b.shape.concrete();
  return !from || !to || *from == *to;
}

std::string to_json(const Program& p) {
  Json slots = Json::array(), steps = Json::array();
  for (const Slot& s : p.slots) slots.push_back(slot_json(s));
  for (const Step& s : p.steps) steps.push_back(step_json(s));
  const Json json{{"name", p.name},
                  {"target", p.target},
                  {"device", p.device},
                  {"threads", p.threads},
                  {"max_tier", p.max_tier},
                  {"cuda_arch", p.cuda_arch},
                  {"inputs", bindings_json(p.inputs)},
                  {"outputs", bindings_json(p.outputs)},
                  {"slots", slots},
                  {"steps", steps},
                  {"memory",
                   {{"arena_bytes", p.memory.arena_bytes},
                    {"lower_bound_bytes", p.memory.lower_bound_bytes},
                    {"without_reuse_bytes", p.memory.without_reuse_bytes},
                    {"weights_bytes", p.memory.weights_bytes},
                    {"workspace_bytes", p.memory.workspace_bytes}}},
                  {"build",
                   {{"seconds", p.build.seconds},
                    {"tactics_timed", p.build.tactics_timed},
                    {"cache_hits", p.build.cache_hits},
                    {"notes", p.build.notes},
                    {"precisions", precisions_json(p.build.layers)},
                    {"cpu_peaks", peaks_json(p.build.cpu)},
                    {"gpu_peaks", peaks_json(p.build.gpu)}}}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

Result<Program> program_from_json(std::string_view text) {
  // nlohmann reports by exception; none may leave this file.
  try {
    const Json json = Json::parse(text);
    Program p;
    for (const char* key : {"inputs", "outputs", "slots", "steps"})
      if (!json.at(key).is_array()) return invalid("the manifest's '{}' is no list", key);
    p.name = json.at("name");
    p.target = json.at("target");
    p.device = json.at("device");
    p.threads = json.at("threads");
    p.max_tier = json.at("max_tier");
    p.cuda_arch = json.at("cuda_arch");
    if (p.threads < 1 || p.threads > 1024) return invalid("{}", counted(p.threads, "thread"));
    for (const Json& s : json.at("slots")) p.slots.push_back(slot_from(s));
    for (const Json& s : json.at("steps")) p.steps.push_back(step_from(s));
    p.inputs = bindings_from(json.at("inputs"));
    p.outputs = bindings_from(json.at("outputs"));
    const Json& memory = json.at("memory");
    p.memory = {memory.at("arena_bytes"), memory.at("lower_bound_bytes"), memory.at("without_reuse_bytes"),
                memory.at("weights_bytes"), memory.at("workspace_bytes")};
    const Json& build = json.at("build");
    p.build = {build.at("seconds"),
               build.at("tactics_timed"),
               build.at("cache_hits"),
               peaks_from(build.at("cpu_peaks")),
               peaks_from(build.at("gpu_peaks")),
               build.at("notes"),
               layers_from(build.at("precisions"))};
    HONE_CHECK(in_one_line(check(p)));
    return p;
  } catch (const std::exception& e) {
    return invalid("the manifest is malformed: {}", e.what());
  }
}

}  // namespace hone
