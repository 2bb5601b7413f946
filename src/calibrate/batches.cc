#include "calibrate/batches.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/counted.h"
#include "base/npy.h"
#include "calibrate/npz.h"
#include "import/onnx/test_set.h"

namespace hone::calibrate {
namespace {

namespace fs = std::filesystem;

struct Context {
  std::string model_path;
  std::vector<Input> inputs;
  std::optional<Preprocess> preprocess;
};

Result<const Input*> only_input(const Context& c, const std::string& path, const char* instead) {
  if (c.inputs.size() == 1) return &c.inputs[0];
  return invalid("{}: the model has {}: {}", path, counted(c.inputs.size(), "input"), instead);
}

Result<std::vector<Tensor>> from_npy(const Context& c, const std::string& path) {
  HONE_CHECK(only_input(c, path, "save .npz files, with arrays named like them"));
  HONE_TRY(Tensor value, read_npy(path));
  return std::vector<Tensor>{std::move(value)};
}

Result<std::vector<Tensor>> from_npz(const Context& c, const std::string& path) {
  HONE_TRY(const auto arrays, read_npz(path));
  std::vector<Tensor> values;
  for (const Input& input : c.inputs) {
    const auto found = arrays.find(input.name);
    if (found == arrays.end())
      return invalid("{}: has no array '{}', which is an input of the model", path, input.name);
    values.push_back(found->second);
  }
  return values;
}

Result<std::vector<Tensor>> from_test_set(const Context& c, const std::string& path) {
  HONE_TRY(TestSet set, read_test_set(c.model_path, path));
  if (set.inputs.size() != c.inputs.size())
    return invalid("{}: has {} of the model's {}", path, set.inputs.size(), counted(c.inputs.size(), "input"));
  return std::move(set.inputs);
}

Result<std::vector<Tensor>> from_image(const Context& c, const std::string& path) {
  HONE_TRY(const Input* input, only_input(c, path, "images are for models with one"));
  if (!c.preprocess)
    return invalid("{}: an image needs --preprocess, the way in which the network was trained to see images: {}", path,
                   preprocess_help());
  HONE_TRY(Tensor value, read_image(path, *c.preprocess, input->type));
  return std::vector<Tensor>{std::move(value)};
}

bool has_ending(const fs::path& path, std::initializer_list<std::string_view> endings) {
  std::string own = path.extension().string();
  for (char& ch : own) ch = static_cast<char>(std::tolower(static_cast<unsigned char>(ch)));
  return std::ranges::find(endings, own) != endings.end();
}

// A kind of file (or folder) that holds one batch.
struct Kind {
  std::string_view name;
  bool (*is)(const fs::path& path);
  Result<std::vector<Tensor>> (*read)(const Context& c, const std::string& path);
};
constexpr Kind kKinds[] = {
    {".npy files", [](const fs::path& p) { return has_ending(p, {".npy"}); }, from_npy},
    {".npz files", [](const fs::path& p) { return has_ending(p, {".npz"}); }, from_npz},
    {"ONNX test data", [](const fs::path& p) { return fs::is_regular_file(p / "input_0.pb"); }, from_test_set},
    {"images",
     [](const fs::path& p) {
       return has_ending(p, {".png", ".jpg", ".jpeg", ".bmp", ".ppm"});
     },
     from_image},
};

const Kind* kind_of(const fs::path& path) {
  const auto found = std::ranges::find_if(kKinds, [&](const Kind& kind) { return kind.is(path); });
  return found == std::end(kKinds) ? nullptr : found;
}

class FileBatches : public Batches {
 public:
  FileBatches(Context context, std::vector<std::string> files)
      : context_(std::move(context)), files_(std::move(files)) {}

  size_t count() const override { return files_.size(); }
  Result<std::optional<Batch>> next() override {
    if (next_ == files_.size()) return std::optional<Batch>();
    const std::string& path = files_[next_++];
    HONE_TRY(auto inputs, kind_of(path)->read(context_, path));
    return std::optional<Batch>({path, std::move(inputs)});
  }

 private:
  Context context_;
  std::vector<std::string> files_;
  size_t next_ = 0;
};

// What lies in a folder, of one kind.
Result<std::vector<std::string>> files_in(const std::string& folder) {
  std::vector<std::string> files;
  const Kind* kind = nullptr;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const Kind* own = kind_of(it->path());
    if (own == nullptr) continue;
    if (kind != nullptr && own != kind)
      return invalid("{}: holds both {} and {}: give one kind of data", folder, kind->name, own->name);
    kind = own;
    files.push_back(it->path().string());
  }
  if (error) return invalid("{}: cannot be listed: {}", folder, error.message());
  if (files.empty())
    return invalid("{}: holds no calibration data: expected .npy, .npz, images or ONNX test data", folder);
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

Result<std::unique_ptr<Batches>> open_data(const std::string& path, const std::string& model_path,
                                           std::vector<Input> inputs, std::optional<Preprocess> preprocess) {
  std::error_code error;
  if (!fs::exists(path, error)) return invalid("{}: no such file or folder of calibration data", path);
  std::vector<std::string> files{path};
  if (kind_of(path) == nullptr) {
    if (!fs::is_directory(path, error))
      return invalid("{}: not calibration data: expected .npy, .npz, images or ONNX test data", path);
    HONE_TRY(files, files_in(path));
  }
  return std::unique_ptr<Batches>(
      std::make_unique<FileBatches>(Context{model_path, std::move(inputs), preprocess}, std::move(files)));
}

}  // namespace hone::calibrate
