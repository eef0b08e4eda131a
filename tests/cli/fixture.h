// A served fake cluster and daarionctl pointed at it.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "controlplane/api/grpc_server.h"
#include "tests/api/fake_cluster.h"
#include "tests/cli/ctl.h"

namespace daarion::test {

class CliTest : public testing::Test {
 protected:
  CliTest() {
    cluster.settle();
    server = *GrpcServer::start("127.0.0.1", 0, cluster.ports());
    address = "127.0.0.1:" + std::to_string(server->port());
  }
  Ran ctl(const std::vector<std::string>& args) const { return daarionctl(args, {"DAARION_SERVER=" + address}); }
  nlohmann::json json(std::vector<std::string> args) const {
    args.insert(args.end(), {"-o", "json"});
    const Ran ran = ctl(args);
    EXPECT_EQ(ran.err, "");
    return nlohmann::json::parse(ran.out, nullptr, false);
  }
  /// Digests and chains as <hex>: they are other tests' business.
  static std::string masked(const std::string& text) {
    static const std::regex kHex("\\b[0-9a-f]{64}\\b|\\b[0-9a-f]{8}-[0-9a-f-]{27}\\b|digest [0-9a-f]{8}\\b");
    return std::regex_replace(text, kHex, "<hex>");
  }
  /// One line on stderr with each of the texts, and nothing on stdout.
  static void expect_refusal(const Ran& ran, int code, const std::vector<std::string>& texts) {
    EXPECT_EQ(ran.code, code) << ran.err << ran.out;
    EXPECT_EQ(ran.out, "");
    EXPECT_EQ(std::ranges::count(ran.err, '\n'), 1) << ran.err;
    EXPECT_TRUE(ran.err.starts_with("daarionctl: ")) << ran.err;
    for (const std::string& text : texts) EXPECT_NE(ran.err.find(text), std::string::npos) << ran.err << "\nlacks: " << text;
  }

  FakeCluster cluster;
  std::unique_ptr<GrpcServer> server;
  std::string address;
};

}  // namespace daarion::test
