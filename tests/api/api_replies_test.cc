#include "controlplane/api/api_replies.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "proto/daarion/v1/admin.pb.h"

namespace daarion {
namespace {

TEST(ApiReplies, AnswerInHttpsOwnWords) {
  v1::Status status;
  status.add_nodes()->set_id("node1");
  status.add_resources()->set_id("postgres");
  StatusView view;
  view.ready = true;
  view.status = std::make_shared<const v1::Status>(status);
  view.status_json = R"({"status":"ok"})";
  view.peers_json = R"({"peers":[]})";
  EXPECT_EQ(api_reply(view, "status"), view.status_json);
  EXPECT_EQ(api_reply(view, "peers"), view.peers_json);
  EXPECT_EQ(nlohmann::json::parse(api_reply(view, "nodes"))["nodes"][0]["id"], "node1");
  EXPECT_EQ(nlohmann::json::parse(api_reply(view, "resources"))["resources"][0]["id"], "postgres");
  EXPECT_EQ(nlohmann::json::parse(api_reply(view, "ready"))["ready"], true);
}

TEST(ApiReplies, AnUnknownVerbNamesTheKnownOnes) {
  const auto answer = nlohmann::json::parse(api_reply({}, "promote"));
  EXPECT_NE(answer["error"].get<std::string>().find("cluster.api.promote"), std::string::npos);
  EXPECT_EQ(answer["verbs"].size(), 5u);
}

}  // namespace
}  // namespace daarion
