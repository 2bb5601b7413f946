// `hone quantize`: what Hone computes in int8, as an ONNX model.
#include <cmath>

#include "base/npy.h"
#include "cli/cli.h"

namespace hone {
namespace {

using Json = nlohmann::json;

// Scales of channels far apart, as real networks have them.
void vary(onnx::TensorProto& weights, unsigned seed) {
  const int64_t inner = weights.float_data_size() / weights.dims(0);
  for (int i = 0; i < weights.float_data_size(); ++i)
    weights.set_float_data(
        i, static_cast<float>(std::sin(1.7 * i + seed) * std::ldexp(0.5, -static_cast<int>(i / inner % 4))));
}

class Quantize : public Cli {
 protected:
  // A convolution with a batch norm, a depthwise one, a residual sum, and products with their biases.
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Cli::SetUp());
    ModelBuilder b(13);
    b.input("x", {1, 8, 6, 6});
    vary(b.weight("w1", {16, 8, 3, 3}), 1);
    auto& first = b.node("Conv", {"x", "w1"}, {"c1"});
    pad(first);
    vary(b.weight("scale", {16}), 2);
    b.weight("shift", {16});
    b.weight("mean", {16});
    for (float& v : *b.weight("variance", {16}).mutable_float_data()) v = 2;
    b.node("BatchNormalization", {"c1", "scale", "shift", "mean", "variance"}, {"n1"});
    b.node("Relu", {"n1"}, {"r1"});
    vary(b.weight("w2", {16, 1, 3, 3}), 3);
    b.weight("b2", {16});
    auto& second = b.node("Conv", {"r1", "w2", "b2"}, {"c2"});
    pad(second);
    auto* group = second.add_attribute();
    group->set_name("group");
    group->set_type(onnx::AttributeProto::INT);
    group->set_i(16);
    b.node("Add", {"c2", "r1"}, {"sum"});
    b.node("Relu", {"sum"}, {"r2"});
    vary(b.weight("w3", {16, 16, 1, 1}), 4);
    b.node("Conv", {"r2", "w3"}, {"c3"});
    b.node("GlobalAveragePool", {"c3"}, {"pooled"});
    b.node("Flatten", {"pooled"}, {"flat"});
    vary(b.weight("w4", {12, 16}), 5);
    b.weight("b4", {12});
    auto& gemm = b.node("Gemm", {"flat", "w4", "b4"}, {"g"});
    auto* alpha = gemm.add_attribute();
    alpha->set_name("alpha");
    alpha->set_type(onnx::AttributeProto::FLOAT);
    alpha->set_f(0.25f);
    auto* turned = gemm.add_attribute();
    turned->set_name("transB");
    turned->set_type(onnx::AttributeProto::INT);
    turned->set_i(1);
    vary(b.weight("w5", {12, 16}), 6);
    b.node("MatMul", {"g", "w5"}, {"y"});
    b.output("y");
    ModelBuilder::value(b.graph().mutable_output(0), "y", {1, 16});
    save(b, "net.onnx");
    Tensor x(DType::f32, {12, 8, 6, 6});
    for (int64_t i = 0; i < x.count(); ++i) x.set(i, std::sin(0.37 * static_cast<double>(i)) * (1 + (i / 36) % 5));
    ASSERT_TRUE(write_npy(path("data.npy"), x).ok());
    Tensor other(DType::f32, {1, 8, 6, 6});
    for (int64_t i = 0; i < other.count(); ++i) other.set(i, 2 * std::cos(0.53 * static_cast<double>(i)));
    ASSERT_TRUE(write_npy(path("x.npy"), other).ok());
  }

  static void pad(onnx::NodeProto& node) {
    auto* pads = node.add_attribute();
    pads->set_name("pads");
    pads->set_type(onnx::AttributeProto::INTS);
    for (int i = 0; i < 4; ++i) pads->add_ints(1);
  }

  Outcome quantize(std::vector<std::string> more = {}) {
    std::vector<std::string> args{"quantize", path("net.onnx"), "-o", path("q.onnx"), "--calibrate", path("data.npy")};
    args.insert(args.end(), more.begin(), more.end());
    return hone(args);
  }

  double snr_db(std::vector<std::string> subjects) {
    std::vector<std::string> args{"compare"};
    args.insert(args.end(), subjects.begin(), subjects.end());
    for (const std::string& more :
         {std::string("--input"), "x=" + path("x.npy"), std::string("--json"), path("c.json")})
      args.push_back(more);
    const Outcome got = hone(args);
    const Json result = Json::parse(read_text(path("c.json")), nullptr, false);
    EXPECT_FALSE(result.is_discarded()) << got.out << got.err;
    if (result.is_discarded()) return 0;
    for (const Json& t : result["tensors"])
      if (t["name"] == "y") return t["snr_db"].is_null() ? 300 : t["snr_db"].get<double>();
    ADD_FAILURE() << result.dump();
    return 0;
  }
};

TEST_F(Quantize, TheModelComputesWhatTheInt8EngineDoes) {
  const Outcome made = quantize({"--calibration-cache", path("r.json"), "--json", path("q.json")});
  ASSERT_EQ(made.status, 0) << made.err;
  const Json report = Json::parse(read_text(path("q.json")));
  for (const Json& layer : report["layers"])
    EXPECT_EQ(layer["precision"], "int8") << layer.dump();
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(read_text(path("q.onnx"))));
  size_t quantize_nodes = 0;
  for (const auto& node : model.graph().node()) quantize_nodes += node.op_type() == "QuantizeLinear";
  EXPECT_EQ(quantize_nodes, 6u);  // one for each tensor that a layer or the average reads: so does the residual sum
  for (const auto& weights : model.graph().initializer())
    EXPECT_TRUE(weights.data_type() != onnx::TensorProto::FLOAT || weights.dims_size() < 2 || weights.dims(1) == 1)
        << weights.name();

  ASSERT_EQ(hone({"build", path("net.onnx"), "--target", "cpu", "--precision", "int8", "--no-tune", "--timing-cache",
                  "none", "--calibrate", path("data.npy"), "--calibration-cache", path("r.json"), "-o", path("e.hone")})
                .status,
            0);
  // Of 8 bits a tensor some 40 dB are left; between the two differ only roundings of ties and of scales.
  EXPECT_GT(snr_db({path("q.onnx"), path("net.onnx"), "--target", "reference", "--target-b", "reference"}), 25);
  EXPECT_GT(snr_db({path("q.onnx"), path("e.hone"), "--target", "reference"}), 50);
  if (!fs::exists(HONE_PEERS_PYTHON)) GTEST_SKIP() << "there is no " << HONE_PEERS_PYTHON << ": run scripts/peers.sh";
  EXPECT_GT(snr_db({path("q.onnx"), "onnxruntime", "--target", "reference", "--python", HONE_PEERS_PYTHON}), 50);
}

TEST_F(Quantize, SaysWhyALayerIsLeft) {
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(read_text(path("net.onnx"))));
  auto* initialisers = model.mutable_graph()->mutable_initializer();
  for (auto& t : *initialisers)  // weights that the file computes
    if (t.name() == "w5") t.set_name("w5_half");
  auto* sum = model.mutable_graph()->add_node();
  sum->set_op_type("Add");
  sum->add_input("w5_half");
  sum->add_input("w5_half");
  sum->add_output("w5");
  std::ofstream(path("net.onnx"), std::ios::binary) << model.SerializeAsString();
  const Outcome made = quantize();
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_NE(made.out.find("its weights are no constant of the file"), std::string::npos) << made.out;
}

TEST_F(Quantize, RefusesWhatItCannotDo) {
  const auto refused = [&](int status, const std::string& word) {
    const Outcome got = quantize();
    EXPECT_EQ(got.status, status) << got.err;
    EXPECT_NE(got.err.find(word), std::string::npos) << got.err;
    EXPECT_EQ(std::count(got.err.begin(), got.err.end(), '\n'), 1) << got.err;
    EXPECT_FALSE(fs::exists(path("q.onnx")));
  };
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(read_text(path("net.onnx"))));
  model.mutable_opset_import(0)->set_version(12);
  std::ofstream(path("net.onnx"), std::ios::binary) << model.SerializeAsString();
  refused(3, "opset 12");
  std::ofstream(path("net.onnx"), std::ios::binary) << "none";
  refused(2, "net.onnx");
}

}  // namespace
}  // namespace hone
