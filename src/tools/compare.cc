#include <cmath>

#include "base/counted.h"
#include "tools/common.h"
#include "tools/difference.h"
#include "tools/inputs.h"
#include "tools/subject.h"

namespace hone::tools {
namespace {

constexpr double kNegligible = 1e-6;  // a difference that is no drift, whatever the magnitude

// One side's own options; what is empty is as for both.
struct SideOptions {
  std::string what, target, isa, threads;
  std::vector<std::string> precisions;
  bool no_winograd = false;

  void add_to(CLI::App& app, const std::string& side) {
    const auto about = [&](const char* text) { return fmt::format("{} of {} alone", text, side == "a" ? 'A' : 'B'); };
    app.add_option("--target-" + side, target, about("Target"));
    app.add_option("--precision-" + side, precisions, about("Precisions"))
        ->delimiter(',')
        ->check(CLI::IsMember(precision_names()));
    app.add_option("--isa-" + side, isa, about("Highest instruction set"))
        ->check(CLI::IsMember({"auto", "avx512", "avx2", "scalar"}));
    app.add_option("--threads-" + side, threads, about("CPU threads"))->check(CLI::Range(0, 1024));
    app.add_flag("--no-winograd-" + side, no_winograd, about("None of Winograd's and Strassen's algorithms"));
  }
  bool any() const { return !target.empty() || !isa.empty() || !threads.empty() || !precisions.empty() || no_winograd; }
};

bool is_target(const std::string& word) {
  return word == "cpu" || word == "reference" || word == "cuda" || word.starts_with("cuda:");
}

bool is_word(const std::string& what) { return what == "onnxruntime" || is_target(what); }

// A side as it will be opened.
struct Side {
  ModelOptions model;
  std::string title;
  bool onnxruntime = false, is_engine = false;
};

// A row of the table.
struct Row {
  std::string name, layer;
  std::optional<Difference> difference;  // nothing: it cannot be said
  bool drifts = false;
};

struct Compare {
  ModelOptions both;
  Output output;
  InputOptions input;
  SideOptions a, b;
  std::string python = "python3";
  double tolerance = 1e-3;
  std::vector<Row> rows;

  // A word stands for the other side's model.
  Result<Side> side(const SideOptions& own, const SideOptions& other) const {
    Side made{.model = both, .title = own.what};
    made.onnxruntime = own.what == "onnxruntime";
    if (made.onnxruntime && own.any()) return invalid("ONNX Runtime has no such options as --target-a or --isa-b");
    made.model.model = is_word(own.what) ? other.what : own.what;
    if (is_target(own.what)) made.model.target = own.what;
    if (!own.target.empty()) made.model.target = own.target;
    if (!own.isa.empty()) made.model.isa = own.isa;
    if (!own.threads.empty()) made.model.threads = std::stoi(own.threads);
    if (!own.precisions.empty()) made.model.precisions = own.precisions;
    made.model.no_winograd |= own.no_winograd;
    HONE_TRY(made.is_engine, is_engine_file(made.model.model));
    if (made.is_engine && is_word(own.what))
      return invalid("{} is an engine, which cannot be run by '{}': give the model that it was built from",
                     made.model.model, own.what);
    if (made.is_engine && own.any())
      return invalid("{} is an engine: options for it were chosen when it was built", made.model.model);
    // Those of both are for the other side, which is a model.
    if (made.is_engine) made.model = {.model = made.model.model, .deterministic = both.deterministic};
    return made;
  }

  // `shapes`: of inputs that the options leave open; those of an engine are added.
  Result<std::shared_ptr<const LoadedEngine>> open(const Side& side, std::map<std::string, Dims>& shapes) const {
    auto opened = open_model(side.model, side.is_engine ? std::map<std::string, Dims>() : shapes, 1, output);
    if (!opened.ok()) return opened.status();
    for (const Binding& binding : opened->engine->program().inputs)
      if (binding.type.shape.known()) shapes.emplace(binding.name, *binding.type.shape.concrete());
    return opened->engine;
  }

  Status check_usage() {
    if (b.what.empty() && !a.any() && !b.any())
      return invalid("A and B would be the same: give B, or an option such as --target-b reference");
    if (b.what.empty()) b.what = a.what;
    if (is_word(a.what) && is_word(b.what)) return invalid("neither '{}' nor '{}' is a model", a.what, b.what);
    if (!(tolerance >= 0)) return invalid("--tolerance {}: it is 0 or more", tolerance);
    return {};
  }

  // Engines first, for their shapes are fixed.
  Status run() {
    HONE_CHECK(check_usage());
    HONE_TRY(const GivenInputs given, input.read());
    std::map<std::string, Dims> shapes = given.shapes();
    Side sides[2];
    HONE_TRY(sides[0], side(a, b));
    HONE_TRY(sides[1], side(b, a));
    std::shared_ptr<const LoadedEngine> engines[2];
    const size_t first = sides[1].is_engine || sides[0].onnxruntime ? 1 : 0;
    for (size_t i : {first, 1 - first}) {
      if (sides[i].onnxruntime) continue;
      HONE_TRY(engines[i], open(sides[i], shapes));
    }
    HONE_TRY(const NamedTensors inputs, given.values(engines[first]->program().inputs, input.seed));
    std::unique_ptr<Subject> subjects[2];
    for (size_t i : {0, 1})
      subjects[i] =
          sides[i].onnxruntime ? onnxruntime_subject(sides[i].model.model, python) : engine_subject(engines[i]);
    HONE_CHECK(compare(*subjects[0], *subjects[1], inputs));
    if (rows.empty()) return invalid("{} and {} have no tensor under the same name", sides[0].title, sides[1].title);
    HONE_CHECK(output.write(json()));
    if (output.shows_table()) print();
    return {};
  }

  // The yardstick's tensors are kept; the other side's are compared as they come.
  Status compare(const Subject& subject, const Subject& yardstick, const NamedTensors& inputs) {
    const auto ours = subject.names(), theirs = yardstick.names();
    std::set<std::string> wanted = ours ? *ours : *theirs;
    if (ours && theirs) std::erase_if(wanted, [&](const std::string& name) { return !theirs->contains(name); });
    std::map<std::string, Tensor> expected;
    HONE_CHECK(
        yardstick.run(inputs, wanted, [&](const Shown& shown) { expected[shown.name] = shown.value; }).within("B"));
    const auto sink = [&](const Shown& shown) {
      if (const auto found = expected.find(shown.name); found != expected.end()) add_row(shown, found->second);
    };
    return subject.run(inputs, wanted, sink).within("A");
  }

  void add_row(const Shown& shown, const Tensor& yardstick) {
    Row row{shown.name, shown.layer, difference(shown.value, yardstick)};
    const auto& d = row.difference;
    row.drifts = d ? !(d->max_abs <= tolerance * d->largest + kNegligible) : !(shown.value == yardstick);
    rows.push_back(std::move(row));
  }

  const Row* first_drift() const {
    const auto found = std::find_if(rows.begin(), rows.end(), [](const Row& row) { return row.drifts; });
    return found == rows.end() ? nullptr : &*found;
  }

  // JSON has no infinity: null stands for it, and for what cannot be said.
  Json json() const {
    Json tensors = Json::array();
    for (const Row& row : rows) {
      Json json{{"name", row.name}, {"layer", row.layer}, {"drifts", row.drifts}};
      for (const auto& [key, member] : {std::pair("max_abs", &Difference::max_abs),
                                        {"mean_abs", &Difference::mean_abs},
                                        {"snr_db", &Difference::snr_db},
                                        {"cosine", &Difference::cosine},
                                        {"largest", &Difference::largest}}) {
        const double value = row.difference ? (*row.difference).*member : INFINITY;
        json[key] = std::isfinite(value) ? Json(value) : Json();
      }
      tensors.push_back(std::move(json));
    }
    const Row* drift = first_drift();
    return {{"a", a.what},
            {"b", b.what},
            {"tolerance", tolerance},
            {"tensors", tensors},
            {"first_drift", drift ? Json(drift->name) : Json()}};
  }

  void print() const {
    fmt::print("{:>10} {:>10} {:>8} {:>10}  {}\n", "max error", "mean", "SNR dB", "cosine", "tensor");
    for (const Row& row : rows) {
      if (row.difference)
        fmt::print("{:>10.2e} {:>10.2e} {:>8.1f} {:>10.7f}", row.difference->max_abs, row.difference->mean_abs,
                   row.difference->snr_db, row.difference->cosine);
      else fmt::print("{:>41}", row.drifts ? "other values or another shape" : "equal");
      fmt::print("  {}{}\n", row.name, row.drifts ? "  <- drifts" : "");
    }
    const Row* drift = first_drift();
    if (drift == nullptr)
      return fmt::print("{} within {} of their range\n", counted(rows.size(), "tensor agrees", "tensors agree"),
                        tolerance);
    fmt::print("first drift: '{}'{}{}\n", drift->name, drift->layer.empty() ? "" : " of ", drift->layer);
  }
};

}  // namespace

void add_compare(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand("compare", "Run two things on the same data and name the first tensor that differs");
  auto command = std::make_shared<Compare>();
  sub->add_option("A", command->a.what, "What is judged: a model, an engine, or one of the words below")->required();
  sub->add_option("B", command->b.what,
                  "The yardstick: a model, an engine, or a word for how to run the other one's model: onnxruntime, "
                  "reference, cpu, cuda, cuda:N; default: A's model");
  command->both.add_options_to(*sub);
  command->a.add_to(*sub, "a");
  command->b.add_to(*sub, "b");
  command->output.add_to(*sub);
  command->input.add_to(*sub);
  sub->add_option("--tolerance", command->tolerance, "Of the largest error, relative to B's largest magnitude")
      ->capture_default_str();
  sub->add_option("--python", command->python, "Python that has onnx and onnxruntime")->capture_default_str();
  sub->footer(
      "Tensors are matched by the name that they have in the model, in the order in which A computes them.\n"
      "Exit status 1 when one drifts.\n"
      "Examples: hone compare resnet50.hone resnet50.onnx\n"
      "          hone compare resnet50.onnx reference --input x=photo.npy\n"
      "          hone compare resnet50.onnx onnxruntime --python peers/bin/python\n"
      "          hone compare resnet50.onnx --target cuda --precision-a fp32,tf32");
  sub->callback([command, &exit] {
    const Status status = command->run();
    exit = status.ok() ? (command->first_drift() != nullptr ? 1 : 0) : report(status);
  });
}

}  // namespace hone::tools
