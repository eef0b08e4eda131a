// The gRPC server by a bare client: what daarionctl does not show.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <thread>

#include "controlplane/api/grpc_server.h"
#include "proto/daarion/v1/admin.grpc.pb.h"
#include "tests/api/fake_cluster.h"

namespace daarion::test {
namespace {

class GrpcTest : public testing::Test {
 protected:
  GrpcTest() {
    cluster.settle();
    AdminPorts ports = cluster.ports();
    ports.routes = std::make_shared<RouteDesk>(ports.aliases);
    server = *GrpcServer::start("127.0.0.1", 0, std::move(ports));
    stub = v1::Admin::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(server->port()), grpc::InsecureChannelCredentials()));
  }
  FakeCluster cluster;
  std::unique_ptr<GrpcServer> server;
  std::unique_ptr<v1::Admin::Stub> stub;
};

TEST_F(GrpcTest, RejoinIsForReplicasThatAreHeard) {
  const auto ask = [&](const std::string& resource, const std::string& node, v1::Mutation* mutation) {
    grpc::ClientContext context;
    v1::RejoinRequest request;
    request.set_resource(resource);
    request.set_node(node);
    request.mutable_intent()->set_reason("its disk was full");
    request.mutable_intent()->set_actor("ann");
    return stub->Rejoin(&context, request, mutation);
  };
  v1::Mutation mutation;
  EXPECT_NE(ask("postgres", "node1", &mutation).error_message().find("node1 is its holder"), std::string::npos);
  EXPECT_NE(ask("postgres", "node3", &mutation).error_message().find("node3 does not run it"), std::string::npos);
  EXPECT_NE(ask("nothing", "node2", &mutation).error_message().find("unknown resource nothing"), std::string::npos);
  const grpc::Status asked = ask("postgres", "NODE2", &mutation);
  ASSERT_TRUE(asked.ok()) << asked.error_message();
  EXPECT_EQ(mutation.event().type(), "RejoinRequested");
  EXPECT_TRUE(mutation.outcome().starts_with("node2 copies all of node1's data anew")) << mutation.outcome();
}

TEST_F(GrpcTest, RestartIsForReplicasThatAreHeard) {
  const auto ask = [&](const std::string& node, v1::Mutation* mutation) {
    grpc::ClientContext context;
    v1::RestartRequest request;
    request.set_resource("postgres");
    request.set_node(node);
    request.mutable_intent()->set_reason("max_connections");
    return stub->Restart(&context, request, mutation);
  };
  v1::Mutation mutation;
  const std::string at_holder = ask("node1", &mutation).error_message();
  EXPECT_NE(at_holder.find("restart postgres node1 refused: node1 is its holder: hand it over"), std::string::npos) << at_holder;
  EXPECT_NE(ask("node3", &mutation).error_message().find("node3 does not run it"), std::string::npos);
  const grpc::Status asked = ask("NODE2", &mutation);
  ASSERT_TRUE(asked.ok()) << asked.error_message();
  EXPECT_EQ(mutation.event().type(), "RestartRequested");
  EXPECT_TRUE(mutation.outcome().starts_with("node2 stops and starts its engine of postgres: until it runs again nobody could take over from node1; void")) << mutation.outcome();
}

TEST_F(GrpcTest, ResolvesForAnyNameOfANode) {
  cluster.route();
  v1::ResolveRequest request;
  request.set_subject("message.received.helion");
  request.set_from("NodA1");
  v1::Resolution found;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(stub->Resolve(&context, request, &found).ok());
  }
  EXPECT_EQ(found.class_(), "replicated");
  EXPECT_EQ(found.stream(), "MESSAGE");
  EXPECT_EQ(found.service(), "gateway");
  EXPECT_EQ(found.nodes_size(), 3);
  for (const auto& [subject, from] : {std::pair{"message.*", "node1"}, {"message.x", "node9"}}) {
    grpc::ClientContext context;
    request.set_subject(subject);
    request.set_from(from);
    EXPECT_EQ(stub->Resolve(&context, request, &found).error_code(), grpc::StatusCode::INVALID_ARGUMENT) << subject;
  }
}

TEST_F(GrpcTest, LintTakesTextAndGivesFindings) {
  grpc::ClientContext context;
  v1::LintRequest request;
  request.set_text("cluster: x\nnods: {}\n");
  v1::LintResponse found;
  ASSERT_TRUE(stub->Lint(&context, request, &found).ok());
  EXPECT_FALSE(found.ok());
  EXPECT_GT(found.errors(), 0u);
  EXPECT_EQ(found.findings(0).severity(), "error");
  EXPECT_FALSE(found.findings(0).rule().empty());
}

TEST_F(GrpcTest, NamesAreFoldedForEveryClient) {
  grpc::ClientContext context;
  v1::DrainRequest request;
  request.set_node("NodA1");
  request.mutable_intent()->set_reason("by its alias");
  v1::Mutation mutation;
  ASSERT_TRUE(stub->Drain(&context, request, &mutation).ok());
  EXPECT_EQ(mutation.event().subject(), "cluster.log.member.node1.2");
}

TEST_F(GrpcTest, ReadersOfTheLogAreBoundedAndGivenBack) {
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::EventView>>> watches;
  v1::WatchEventsRequest request;
  request.set_from(1);
  request.set_follow(true);
  v1::EventView event;
  for (int i = 0; i < 32; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    watches.push_back(stub->WatchEvents(contexts.back().get(), request));
    ASSERT_TRUE(watches.back()->Read(&event));
    EXPECT_EQ(event.type(), "LogCreated") << "from the past on";
  }
  grpc::ClientContext more;
  const auto refused = stub->WatchEvents(&more, request);
  EXPECT_FALSE(refused->Read(&event));
  EXPECT_EQ(refused->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  for (std::size_t i = 0; i < watches.size(); ++i) {
    contexts[i]->TryCancel();
    while (watches[i]->Read(&event)) {}
    watches[i]->Finish();
  }
  bool again = false;
  for (int i = 0; i < 50 && !again; ++i) {
    grpc::ClientContext context;
    const auto watch = stub->WatchEvents(&context, request);
    again = watch->Read(&event);
    context.TryCancel();
    watch->Finish();
    if (!again) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_TRUE(again);
}

TEST_F(GrpcTest, ATakenPortIsNamed) {
  const auto second = GrpcServer::start("127.0.0.1", server->port(), cluster.ports());
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find(std::to_string(server->port())), std::string::npos);
}

}  // namespace
}  // namespace daarion::test
