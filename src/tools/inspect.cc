#include "engine/inspect.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/file_map.h"
#include "engine/floor.h"
#include "import/onnx/model.h"
#include "passes/pipeline.h"
#include "runtime/load.h"
#include "tools/common.h"
#include "tools/precisions.h"
#include "tools/report.h"

namespace hone::tools {
namespace {

void print_file(const FileSummary& file) {
  if (file.cuda_archs.size() > 1)
    fmt::print("for     {} (another than is shown: --cuda-arch)\n", fmt::join(file.cuda_archs, ", "));
  if (file.portable_bytes)
    fmt::print("graph   {}, for hone build --from-engine\n", readable_bytes(*file.portable_bytes));
}

void print_table(const Program& p, const FileSummary& file, bool verbose) {
  for (const Binding& b : p.inputs) fmt::print("input   {} : {}\n", b.name, to_text(b.type));
  for (const Binding& b : p.outputs) fmt::print("output  {} : {}\n", b.name, to_text(b.type));
  for (const std::string& library : libraries_of(p)) fmt::print("needs   {}\n", library);
  fmt::print("target  {} ({})\n", p.target, p.device);
  if (p.streams() > 1) fmt::print("streams {}\n", p.streams());
  print_file(file);
  fmt::print("\n{:>4}  {:<28} {:<14} {:>10} {:>10}  {}\n", "#", "tactic", "op", "us", "floor", "source nodes");
  for (size_t i = 0; i < p.steps.size(); ++i) {
    const Step& s = p.steps[i];
    const auto floor = floor_us(p, s);
    fmt::print("{:>4}  {:<28} {:<14} {:>10} {:>10}  {}\n", i, fmt::format("{}/{}", s.tactic, s.variant), s.op,
               s.time_us > 0 ? fmt::format("{:.1f}", s.time_us) : "-", floor ? fmt::format("{:.1f}", *floor) : "-",
               fmt::join(s.sources, " + "));
    if (verbose && p.streams() > 1)
      fmt::print("      in stream {}{}\n", s.stream,
                 s.waits.empty() ? "" : fmt::format(", behind {}", fmt::join(s.waits, " and ")));
    if (verbose && !s.varies.empty()) fmt::print("      varies: {}\n", s.varies);
    if (verbose && !s.library.empty()) fmt::print("      by {}: {}\n", s.library, s.algorithm);
    for (const auto& [tactic, reason] : s.refused)
      if (verbose) fmt::print("      not {}: {}\n", tactic, reason);
  }
  for (const Slot& s : p.slots)
    if (verbose && s.kind == Slot::Kind::alias)
      fmt::print("alias   {} : {} in {} at byte {}\n", s.name, to_text(s.type),
                 p.slots[static_cast<size_t>(s.alias_of)].name, s.offset);
  const MemorySummary& m = p.memory;
  fmt::print(
      "\nmemory  arena {:.2f} MB, lower bound {:.2f} MB, without reuse {:.2f} MB, largest workspace {:.2f} MB, weights "
      "{:.2f} MB\n",
      m.arena_bytes / 1e6, m.lower_bound_bytes / 1e6, m.without_reuse_bytes / 1e6, m.workspace_bytes / 1e6,
      m.weights_bytes / 1e6);
  if (!p.build.layers.empty() || !p.build.notes.empty()) fmt::print("\n");
  print_precisions(p.build);
}

std::string quoted(std::string text) {
  for (char& c : text)
    if (c == '"' || c == '\\') c = '\'';
  return '"' + text + '"';
}

void print_dot(const Program& p) {
  fmt::print("digraph engine {{\n  node [shape=box];\n");
  std::map<int, size_t> producer;
  for (const Binding& b : p.inputs) fmt::print("  s{} [label={}, shape=ellipse];\n", b.slot, quoted(b.name));
  for (size_t i = 0; i < p.steps.size(); ++i) {
    const std::string stream = p.streams() > 1 ? fmt::format(", stream {}", p.steps[i].stream) : "";
    fmt::print("  n{} [label={}];\n", i, quoted(fmt::format("{} [{}{}]", p.steps[i].label, p.steps[i].tactic, stream)));
    for (int s : p.steps[i].inputs) {
      while (s >= 0 && !producer.contains(s) && p.slots[static_cast<size_t>(s)].kind == Slot::Kind::alias)
        s = p.slots[static_cast<size_t>(s)].alias_of;
      if (s < 0) continue;
      if (producer.contains(s))
        fmt::print("  n{} -> n{} [label={}];\n", producer[s], i, quoted(to_text(p.slots[static_cast<size_t>(s)].type)));
      else if (p.slots[static_cast<size_t>(s)].kind == Slot::Kind::input) fmt::print("  s{} -> n{};\n", s, i);
    }
    for (int s : p.steps[i].outputs) producer[s] = i;
  }
  fmt::print("}}\n");
}

struct Inspect {
  ModelOptions model;
  Output output;
  std::string html;
  bool text = false, dot = false, optimised = false;

  Result<Graph> read_graph() const {
    HONE_TRY(const CompileOptions options, model.compile_options());
    HONE_TRY(const bool is_engine, is_engine_file(model.model));
    if (!is_engine) return import_onnx_file(model.model, {.shapes = options.shapes});
    HONE_TRY(const EngineFile file, EngineFile::open(model.model));
    HONE_TRY(Portable portable, file.portable());
    return std::move(portable.graph);
  }

  // The portable graph as text, before or after the passes.
  Status print_text() const {
    HONE_TRY(Graph graph, read_graph());
    if (optimised) {
      HONE_CHECK(canonicalize(graph));
      HONE_CHECK(assign_layout(graph));
      HONE_CHECK(fuse(graph));
    }
    fmt::print("{}", to_text(graph, {.max_inline = 16}));
    return {};
  }

  // Of an engine for several architectures the program asked for, else that which runs here, else the first.
  Result<size_t> program_of(const EngineFile& file) const {
    if (model.cuda_archs.empty()) {
      const auto here = program_for_this_machine(file);
      return here.ok() ? *here : 0;
    }
    if (model.cuda_archs.size() > 1) return invalid("--cuda-arch: give one, whose program is to be shown");
    const auto found = std::ranges::find(file.programs(), model.cuda_archs[0], &EngineFile::ProgramInfo::cuda_arch);
    if (found == file.programs().end())
      return invalid("{}: holds no program for {}, but for {}", model.model, model.cuda_archs[0],
                     fmt::join(summary_of(file).cuda_archs, ", "));
    return static_cast<size_t>(found - file.programs().begin());
  }

  Result<EngineData> read(FileSummary& beside) const {
    HONE_TRY(const bool is_engine, is_engine_file(model.model));
    if (!is_engine) return build_model(model, {}, 1, output);
    HONE_TRY(const EngineFile file, EngineFile::open(model.model));
    beside = summary_of(file);
    HONE_TRY(const size_t number, program_of(file));
    HONE_TRY(EngineData engine, file.program(number));
    HONE_CHECK(check_for_engine(model, engine.program));
    return engine;
  }

  Status run() const {
    if (text || optimised) return print_text();
    FileSummary beside;
    HONE_TRY(const EngineData data, read(beside));
    const Program& p = data.program;
    HONE_CHECK(output.write_text(inspect_json(p, beside)));
    if (!html.empty()) {
      const std::string page = html_report(model.model, p);
      const std::string_view parts[] = {page};
      HONE_CHECK(write_file(html, parts));
    }
    if (dot) print_dot(p);
    else if (output.shows_table()) print_table(p, beside, output.verbose);
    return {};
  }
};

}  // namespace

void add_inspect(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand("inspect", "Show layers, tactics, fusions and the memory plan");
  auto command = std::make_shared<Inspect>();
  command->model.add_to(*sub);
  command->output.add_to(*sub);
  sub->add_flag("--text", command->text, "Print the imported or portable graph in Hone's text form");
  sub->add_flag("--optimised", command->optimised, "Print the graph after all passes in Hone's text form");
  sub->add_flag("--dot", command->dot, "Print the engine as a Graphviz graph");
  sub->add_option("--html", command->html, "Write a page about the engine, with its layers and its memory plan");
  sub->footer(
      "Examples: hone inspect resnet50.hone --verbose\n"
      "          hone inspect resnet50.hone --quiet --html report.html");
  sub->callback([command, &exit] { exit = report(command->run()); });
}

}  // namespace hone::tools
