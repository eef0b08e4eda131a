#include "controlplane/api/api_replies.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "proto/daarion/v1/admin.pb.h"
#include "tests/api/fake_cluster.h"

namespace daarion {
namespace {

TEST(ApiReplies, AnswerInHttpsOwnWords) {
  v1::Status status;
  status.add_nodes()->set_id("node1");
  status.add_resources()->set_id("postgres");
  RouteDesk routes;
  StatusView view;
  view.ready = true;
  view.status = std::make_shared<const v1::Status>(status);
  view.status_json = R"({"status":"ok"})";
  view.peers_json = R"({"peers":[]})";
  EXPECT_EQ(api_reply(view, routes, "status", ""), view.status_json);
  EXPECT_EQ(api_reply(view, routes, "peers", ""), view.peers_json);
  EXPECT_EQ(nlohmann::json::parse(api_reply(view, routes, "nodes", ""))["nodes"][0]["id"], "node1");
  EXPECT_EQ(nlohmann::json::parse(api_reply(view, routes, "resources", ""))["resources"][0]["id"], "postgres");
  EXPECT_EQ(nlohmann::json::parse(api_reply(view, routes, "ready", ""))["ready"], true);
}

TEST(ApiReplies, AnUnknownVerbNamesTheKnownOnes) {
  RouteDesk routes;
  const auto answer = nlohmann::json::parse(api_reply({}, routes, "promote", ""));
  EXPECT_NE(answer["error"].get<std::string>().find("cluster.api.promote"), std::string::npos);
  EXPECT_EQ(answer["verbs"].size(), 10u);
}

TEST(ApiReplies, ResolveSubjectsAndGiveTheTable) {
  test::FakeCluster cluster;
  cluster.settle();
  cluster.route();
  RouteDesk routes({{"noda1", NodeId("node1")}});
  const auto ask = [&](const std::string& verb, const std::string& request) { return nlohmann::json::parse(api_reply(*cluster.view(), routes, verb, request)); };
  const auto edge = ask("resolve", R"({"subject": "message.created"})");
  EXPECT_EQ(edge["from"], "node3") << "the node that is asked";
  EXPECT_EQ(edge["stream"], "MESSAGE_node3");
  EXPECT_EQ(edge["class"], "replicated");
  EXPECT_EQ(ask("resolve", R"({"subject": "message.created", "from": "NODA1"})")["stream"], "MESSAGE");
  EXPECT_EQ(ask("resolve", R"({"subject": "other", "from": "node1"})")["class"], "uncovered");
  for (const char* bad : {"", "{}", "[1]", R"({"subject": 7})", R"({"subject": "a.*"})", R"({"subject": "a", "from": "node9"})"})
    EXPECT_TRUE(ask("resolve", bad).contains("error")) << bad;
  const auto table = ask("routes", "");
  EXPECT_EQ(table["version"], 1);
  EXPECT_EQ(table["rules"][1]["subjects"][2], "node.node3.local.>");
  EXPECT_EQ(table["nodes"][2]["site"], "node3");
  EXPECT_EQ(table["nodes"][0]["site"], "core");
  cluster.serve();
  EXPECT_EQ(ask("services", "")["services"][0]["active"], std::vector<std::string>{"node2"});
  EXPECT_EQ(ask("capabilities", "")["capabilities"][4]["provider"], "api:mistral");
  routes.measured({{NodeId("node1"), 2.5}, {NodeId("node2"), 0.3}});
  const auto near = ask("route", R"({"service": "memory", "region": "reg", "mode": "read"})");
  EXPECT_EQ(near["from"], "node3");
  EXPECT_EQ(near["nodes"][0]["node"], "node2") << "the nearer one";
  EXPECT_EQ(near["nodes"][0]["rtt_us"], 300);
  EXPECT_EQ(near["nodes"][1]["address"], "host1");
  EXPECT_EQ(ask("route", R"({"service": "memory"})")["nodes"].size(), 1u);
  EXPECT_TRUE(ask("route", R"({"service": "gpu"})").contains("error")) << "nobody can be sent there";
  cluster.add(MemberIntentChanged{.intent = MemberIntent::kRetired}, NodeId("node1"));
  EXPECT_EQ(ask("resolve", R"({"subject": "message.created", "from": "node1"})")["class"], "uncovered") << "it is no member any more";
}

}  // namespace
}  // namespace daarion
