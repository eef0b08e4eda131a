#include "controlplane/api/grpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include "consumers/state_store.h"
#include "controlplane/api/views.h"
#include "controlplane/core/fold.h"
#include "proto/daarion/v1/admin.grpc.pb.h"
#include "streams/codec.h"

namespace daarion {
namespace {

using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;

// One look at the log for one event; a stream election takes longer, but direct gets do not need the leader.
constexpr Duration kReadLimit = std::chrono::seconds(3);
constexpr Duration kWatchStep = std::chrono::milliseconds(500);  // how soon a cancelled watch ends
constexpr std::uint64_t kProgressEvery = 1000;

Status status_of(const Error& error) {
  switch (error.remedy) {
    case Remedy::kFixInput: return {StatusCode::INVALID_ARGUMENT, error.message};
    case Remedy::kRefold: return {StatusCode::ABORTED, error.message};
    case Remedy::kStepDown: return {StatusCode::FAILED_PRECONDITION, error.message};
    case Remedy::kRetry:
      return {error.effect == Effect::kMaybe ? StatusCode::DEADLINE_EXCEEDED : StatusCode::UNAVAILABLE, error.message};
    case Remedy::kStop: break;
  }
  return {StatusCode::INTERNAL, error.message};
}

OperatorIntent intent_of(const v1::Intent& in) {
  return {.reason = in.reason(), .expected = {in.expected_sequence()}, .request = in.request_id(), .dry_run = in.dry_run(), .actor = in.actor()};
}

Status give(const Result<OperatorAnswer>& answer, v1::Mutation* out) {
  if (!answer) return status_of(answer.error());
  *out->mutable_event() = view_of(answer->event, answer->subject);
  if (answer->event.sequence.value == 0) out->mutable_event()->set_time("");
  out->set_sequence(answer->event.sequence.value);
  out->set_dry_run(answer->dry_run);
  out->set_outcome(answer->outcome);
  return Status::OK;
}

class AdminService final : public v1::Admin::Service {
 public:
  explicit AdminService(AdminPorts ports) : ports_(std::move(ports)) {}

  Status GetStatus(ServerContext*, const v1::GetStatusRequest*, v1::Status* out) override {
    *out = *ports_.view()->status;
    return Status::OK;
  }
  Status ListNodes(ServerContext*, const v1::ListNodesRequest*, v1::ListNodesResponse* out) override {
    *out->mutable_nodes() = ports_.view()->status->nodes();
    return Status::OK;
  }
  Status ListResources(ServerContext*, const v1::ListResourcesRequest*, v1::ListResourcesResponse* out) override {
    *out->mutable_resources() = ports_.view()->status->resources();
    return Status::OK;
  }
  Status GetResource(ServerContext*, const v1::GetResourceRequest* in, v1::ResourceStatus* out) override {
    const auto view = ports_.view();
    for (const v1::ResourceStatus& r : view->status->resources())
      if (r.id() == in->resource()) {
        *out = r;
        return Status::OK;
      }
    return {StatusCode::INVALID_ARGUMENT, "unknown resource " + in->resource() + "; see `daarionctl resources`"};
  }

  Status Switchover(ServerContext*, const v1::SwitchoverRequest* in, v1::Mutation* out) override {
    return give(ports_.operations->switchover(ResourceId(in->resource()), NodeId(in->from()), NodeId(in->to()), intent_of(in->intent())), out);
  }
  Status Failover(ServerContext*, const v1::FailoverRequest* in, v1::Mutation* out) override {
    return give(ports_.operations->failover(ResourceId(in->resource()), NodeId(in->to()), in->allow_data_loss(), intent_of(in->intent())), out);
  }
  Status Pause(ServerContext*, const v1::PauseRequest* in, v1::Mutation* out) override {
    return give(ports_.operations->pause(ResourceId(in->resource()), intent_of(in->intent())), out);
  }
  Status Resume(ServerContext*, const v1::ResumeRequest* in, v1::Mutation* out) override {
    return give(ports_.operations->resume(ResourceId(in->resource()), intent_of(in->intent())), out);
  }
  Status Drain(ServerContext*, const v1::DrainRequest* in, v1::Mutation* out) override {
    return give(ports_.operations->set_member_intent(NodeId(in->node()), MemberIntent::kDraining, intent_of(in->intent())), out);
  }
  Status Undrain(ServerContext*, const v1::UndrainRequest* in, v1::Mutation* out) override {
    return give(ports_.operations->set_member_intent(NodeId(in->node()), MemberIntent::kActive, intent_of(in->intent())), out);
  }

  Status WatchEvents(ServerContext* context, const v1::WatchEventsRequest* in, grpc::ServerWriter<v1::EventView>* out) override {
    const Sequence applied = ports_.view()->state->applied;
    const Sequence from{in->from() != 0 ? in->from() : applied.value + 1};
    auto reader = ports_.reader(from);
    if (!reader) return status_of(reader.error());
    for (Sequence at = from; !context->IsCancelled() && (in->follow() || at <= applied);) {
      const auto message = (*reader)->next(kWatchStep);
      if (!message) return status_of(message.error());
      if (!*message) continue;
      const auto event = decode_event(**message);
      if (!event) return status_of(event.error());
      if (!out->Write(view_of(*event, (*message)->subject))) break;
      at = Sequence{event->sequence.value + 1};
    }
    return Status::OK;
  }

  /// Folds the log from its first event in memory and compares with what this node folded live.
  Status Replay(ServerContext* context, const v1::ReplayRequest* in, grpc::ServerWriter<v1::ReplayProgress>* out) override {
    const auto live = ports_.view();
    const Sequence head{in->to() != 0 ? in->to() : live->status->sequence()};
    if (head > Sequence{live->status->sequence()})
      return {StatusCode::INVALID_ARGUMENT, "replay to " + std::to_string(head.value) + ": this node has folded " +
                                                std::to_string(live->status->sequence()) + " events"};
    auto reader = ports_.reader(Sequence{1});
    if (!reader) return status_of(reader.error());
    State state;
    Chain chain;
    std::vector<StateKey> touched;
    v1::ReplayProgress progress;
    progress.set_head(head.value);
    while (state.applied < head) {
      if (context->IsCancelled()) return Status::CANCELLED;
      const auto message = (*reader)->next(kReadLimit);
      if (!message) return status_of(message.error());
      if (!*message) return {StatusCode::UNAVAILABLE, "replay: event " + std::to_string(state.applied.value + 1) + " did not come in 3 s"};
      const auto event = decode_event(**message);
      if (!event) return status_of(event.error());
      fold_into(state, *event, touched);
      touched.clear();
      chain = chain_next(chain, **message);
      progress.set_sequence(state.applied.value);
      if (state.applied.value % kProgressEvery == 0) out->Write(progress);
    }
    progress.set_done(true);
    progress.set_digest(to_text(state_digest(state)));
    progress.set_chain(chain);
    if (head == Sequence{live->status->sequence()}) {
      progress.set_live_digest(live->status->digest());
      progress.set_equal(progress.digest() == live->status->digest() && chain == live->status->chain());
    }
    out->Write(progress);
    return Status::OK;
  }

  Status Explain(ServerContext*, const v1::ExplainRequest* in, v1::Explanation* out) override {
    const auto view = ports_.view();
    if (in->sequence() == 0 || Sequence{in->sequence()} > view->state->applied)
      return {StatusCode::INVALID_ARGUMENT,
              "explain " + std::to_string(in->sequence()) + ": the log has events 1 to " + std::to_string(view->state->applied.value)};
    auto reader = ports_.reader(Sequence{in->sequence()});
    if (!reader) return status_of(reader.error());
    const auto message = (*reader)->next(kReadLimit);
    if (!message) return status_of(message.error());
    if (!*message) return {StatusCode::UNAVAILABLE, "event " + std::to_string(in->sequence()) + " did not come in 3 s"};
    const auto event = decode_event(**message);
    if (!event) return status_of(event.error());
    const auto why = explain(*event);
    if (!why) return status_of(why.error());
    *out = *why;
    return Status::OK;
  }

  Status ExplainNow(ServerContext*, const v1::ExplainNowRequest* in, v1::Explanation* out) override {
    const auto view = ports_.view();
    const auto then = view->if_holder_dies.find(ResourceId(in->resource()));
    if (then == view->if_holder_dies.end())
      return {StatusCode::INVALID_ARGUMENT, "unknown resource " + in->resource() + "; see `daarionctl resources`"};
    *out = explain_now(then->second);
    return Status::OK;
  }

 private:
  AdminPorts ports_;
};

class Server final : public GrpcServer {
 public:
  explicit Server(AdminPorts ports) : service_(std::move(ports)) {}
  ~Server() override {
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  }
  bool listen(const std::string& bind, std::uint32_t port) {
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // else two daemons share the port without a word
    builder.SetMaxReceiveMessageSize(1 << 20);
    int bound = 0;
    builder.AddListeningPort(bind + ":" + std::to_string(port), grpc::InsecureServerCredentials(), &bound);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    return server_ != nullptr && bound != 0;
  }

 private:
  AdminService service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

Result<std::unique_ptr<GrpcServer>> GrpcServer::start(const std::string& bind, std::uint32_t port, AdminPorts ports) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  auto server = std::make_unique<Server>(std::move(ports));
  if (!server->listen(bind, port))
    return fail(Remedy::kFixInput, "listen for gRPC on " + bind + ":" + std::to_string(port) +
                                       ": the port is taken or the address is not this machine's; set control.grpc_port or control.bind");
  return server;
}

}  // namespace daarion
