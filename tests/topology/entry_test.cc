// What stands before the cluster, made from its file: HAProxy's own check takes it, and CloudFlare's bodies are what its API documents.
#include "controlplane/topology/render_entry.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

namespace daarion {
namespace {

ClusterFile file_with(const std::string& bind) {
  std::ifstream in(std::string(DAARION_SOURCE_DIR) + "/tests/fixtures/cluster.yaml");
  std::stringstream text;
  text << in.rdbuf();
  return parse_cluster_file(std::regex_replace(text.str(), std::regex("bind: 127.0.0.1"), "bind: " + bind)).file;
}

/// What `haproxy -c -f` says of it; empty: it takes it.
std::string haproxy_says(const std::string& config) {
  const std::string path = (std::filesystem::temp_directory_path() / ("daarion-haproxy-" + std::to_string(getpid()) + ".cfg")).string();
  std::ofstream(path) << config;
  FILE* pipe = popen(("haproxy -c -q -f " + path + " 2>&1").c_str(), "r");
  std::string said;
  for (int c = fgetc(pipe); c != EOF; c = fgetc(pipe)) said += static_cast<char>(c);
  const int status = pclose(pipe);
  std::filesystem::remove(path);
  return status == 0 ? said : said + " exit code " + std::to_string(WEXITSTATUS(status));
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(HaproxyRender, IsTakenByHaproxyAndAsksTheDaemons) {
  const auto config = render_haproxy(file_with("node"), {.bind = "127.0.0.1", .region = "eu-north"});
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(haproxy_says(*config), "") << *config;
  EXPECT_EQ(haproxy_says(*config + "nonsense\n").empty(), false) << "the check itself says nothing";
  EXPECT_TRUE(has(*config, "listen postgres_primary\n  mode tcp\n  bind 127.0.0.1:5432\n  option httpchk GET /postgres/primary\n")) << *config;
  EXPECT_TRUE(has(*config, "  server node1 10.0.0.1:5432\n  server node2 10.0.0.2:5432\n"));
  EXPECT_TRUE(has(*config, "frontend memory\n  mode http\n  bind 127.0.0.1:8000\n  use_backend memory_read if METH_GET\n  default_backend memory_active\n"));
  EXPECT_TRUE(has(*config, "backend memory_read\n  mode http\n  balance leastconn\n  option httpchk GET /memory/read\n"));
  EXPECT_TRUE(has(*config, "  server node1 10.0.0.1:9300 backup\n  server node2 10.0.0.2:9300 backup\n  server node3 10.0.0.3:9300\n")) << "the gateway of the region first";
  EXPECT_TRUE(has(*config, "  server node1 10.0.0.1:9102\n  server node2 10.0.0.2:9102\n")) << "none is of the region: all alike";
  EXPECT_TRUE(has(*config, "check port 9351"));
  EXPECT_FALSE(has(*config, "gpu"));
}

TEST(HaproxyRender, RefusesWhatCouldNotBeAsked) {
  const auto refused = render_haproxy(file_with("127.0.0.1"), {});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(has(refused.error().message, "write bind: node")) << refused.error().message;
}

TEST(HaproxyRender, ARegionIsAlsoWhatItsNameBeginsAndAnUnknownOneIsRefused) {
  const auto config = [](const std::string& region) { return render_haproxy(file_with("node"), {.bind = "127.0.0.1", .region = region}); };
  const auto all = config(""), eu = config("eu"), central = config("eu-central"), e = config("e");
  ASSERT_TRUE(all && eu && central);
  EXPECT_EQ(*eu, *all) << "eu-central and eu-north are both of eu: none is backup";
  EXPECT_TRUE(has(*central, "  server node1 10.0.0.1:9300\n  server node2 10.0.0.2:9300\n  server node3 10.0.0.3:9300 backup\n")) << *central;
  ASSERT_FALSE(e) << "the first letters of a region's name are no region";
  EXPECT_TRUE(has(e.error().message, "no node is of region e")) << e.error().message;
  const auto typo = config("eu-nort");
  ASSERT_FALSE(typo);
  EXPECT_EQ(typo.error().message, "no node is of region eu-nort; did you mean eu-north?; the cluster file has eu-central, eu-north");
}

TEST(CloudflareRender, HasAPoolPerRegionAndAMonitorOnReady) {
  const auto text = render_cloudflare(file_with("node"), {.service = "gateway", .hostname = "daarion.city"});
  ASSERT_TRUE(text) << text.error().message;
  const auto json = nlohmann::json::parse(*text);
  EXPECT_EQ(json["monitors"][0]["path"], "/ready");
  EXPECT_EQ(json["monitors"][0]["port"], 9351);
  ASSERT_EQ(json["pools"].size(), 2u);
  EXPECT_EQ(json["pools"][0]["name"], "daarion-gateway-eu-central");
  EXPECT_EQ(json["pools"][0]["origins"].size(), 2u);
  EXPECT_EQ(json["pools"][1]["origins"][0]["address"], "10.0.0.3");
  const auto& balancer = json["load_balancers"][0];
  EXPECT_EQ(balancer["name"], "daarion.city");
  EXPECT_EQ(balancer["default_pools"], (std::vector<std::string>{"<id of pool daarion-gateway-eu-central>", "<id of pool daarion-gateway-eu-north>"})) << "it takes no names";
  EXPECT_EQ(balancer["fallback_pool"], "<id of pool daarion-gateway-eu-central>");
  EXPECT_EQ(json["pools"][0]["origins"][0]["port"], 9300) << "the service's own; without it the balancer's";
  EXPECT_EQ(balancer["region_pools"]["WEU"].size(), 2u);
  EXPECT_FALSE(render_cloudflare(file_with("node"), {.service = "gatway", .hostname = "x"}));
  EXPECT_FALSE(render_cloudflare(file_with("node"), {.service = "gateway", .hostname = ""}));
  EXPECT_FALSE(render_cloudflare(file_with("127.0.0.1"), {.service = "gateway", .hostname = "x"}));
}

}  // namespace
}  // namespace daarion
