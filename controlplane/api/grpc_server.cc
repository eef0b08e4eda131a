#include "controlplane/api/grpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <atomic>

#include "consumers/state_store.h"
#include "controlplane/api/incident_view.h"
#include "controlplane/api/lint_view.h"
#include "controlplane/api/log_views.h"
#include "controlplane/api/names.h"
#include "controlplane/api/service_views.h"
#include "controlplane/api/views.h"
#include "proto/daarion/v1/admin.grpc.pb.h"
#include "streams/codec.h"

namespace daarion {
namespace {

using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;

constexpr Duration kWatchStep = std::chrono::milliseconds(500);  // how soon a cancelled watch ends
constexpr int kMaxReaders = 32;             // watches and replays at a time: each holds a thread and a reader of the log
constexpr int kMaxMessage = 1 << 20;        // bytes that a request may have: a cluster file to lint is a few thousand
// A client may ask every 2 s whether this server still lives: gRPC's own limit (5 min) would end its connection for that.
constexpr int kPingEvery = 2000;            // ms

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

/// Counts who reads the log. Bounded: more are refused, they do not wait.
class Reading {
 public:
  explicit Reading(std::atomic<int>& count) : count_(count), allowed_(++count <= kMaxReaders) {}
  ~Reading() { --count_; }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  bool allowed() const { return allowed_; }
  static Status refusal() {
    return {StatusCode::RESOURCE_EXHAUSTED, std::to_string(kMaxReaders) + " watches and replays run on this node already; end one, or ask another node"};
  }

 private:
  std::atomic<int>& count_;
  bool allowed_;
};

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
    const auto resource = resource_named(in->resource());
    if (!resource) return status_of(resource.error());
    const auto view = ports_.view();
    for (const v1::ResourceStatus& r : view->status->resources())
      if (r.id() == resource->value) {
        *out = r;
        return Status::OK;
      }
    return {StatusCode::INVALID_ARGUMENT, resource->value + " is not led by this control plane; see `daarionctl resources`"};
  }

  Status Switchover(ServerContext*, const v1::SwitchoverRequest* in, v1::Mutation* out) override {
    return with(in->resource(), in->from(), in->to(), [&](const ResourceId& resource, const NodeId& from, const NodeId& to) {
      return give(ports_.operations->switchover(resource, from, to, intent_of(in->intent())), out);
    });
  }
  Status Failover(ServerContext*, const v1::FailoverRequest* in, v1::Mutation* out) override {
    return with(in->resource(), "", in->to(), [&](const ResourceId& resource, const NodeId&, const NodeId& to) {
      return give(ports_.operations->failover(resource, to, in->allow_data_loss(), intent_of(in->intent())), out);
    });
  }
  Status Pause(ServerContext*, const v1::PauseRequest* in, v1::Mutation* out) override {
    return with_or_cluster(in->resource(), [&](const ResourceId& r) { return give(ports_.operations->pause(r, intent_of(in->intent())), out); });
  }
  Status Resume(ServerContext*, const v1::ResumeRequest* in, v1::Mutation* out) override {
    return with_or_cluster(in->resource(), [&](const ResourceId& r) { return give(ports_.operations->resume(r, intent_of(in->intent())), out); });
  }
  Status ConfirmFencing(ServerContext*, const v1::ConfirmFencingRequest* in, v1::Mutation* out) override {
    return with(in->resource(), "", in->holder(), [&](const ResourceId& resource, const NodeId&, const NodeId& holder) {
      return give(ports_.operations->confirm_fencing(resource, holder, intent_of(in->intent())), out);
    });
  }
  Status GrantOverride(ServerContext*, const v1::GrantOverrideRequest* in, v1::Mutation* out) override {
    std::vector<NodeId> left;
    for (const std::string& name : in->voters()) {
      auto node = node_named(name);
      if (!node) return status_of(node.error());
      left.push_back(std::move(*node));
    }
    return give(ports_.operations->grant_override(left, in->others_off(), intent_of(in->intent())), out);
  }
  Status Drain(ServerContext*, const v1::DrainRequest* in, v1::Mutation* out) override {
    return set_intent(in->node(), MemberIntent::kDraining, in->intent(), out);
  }
  Status Undrain(ServerContext*, const v1::UndrainRequest* in, v1::Mutation* out) override {
    return set_intent(in->node(), MemberIntent::kActive, in->intent(), out);
  }
  Status Retire(ServerContext*, const v1::RetireRequest* in, v1::Mutation* out) override {
    return set_intent(in->node(), MemberIntent::kRetired, in->intent(), out);
  }
  Status Rejoin(ServerContext*, const v1::RejoinRequest* in, v1::Mutation* out) override { return of_replica(*in, &Operator::rejoin, out); }
  Status Restart(ServerContext*, const v1::RestartRequest* in, v1::Mutation* out) override { return of_replica(*in, &Operator::restart, out); }
  Status Resolve(ServerContext*, const v1::ResolveRequest* in, v1::Resolution* out) override {
    const auto view = ports_.view();
    auto found = ports_.routes->resolve(*view->state, in->subject(), in->from().empty() ? view->status->node() : in->from());
    if (!found) return status_of(found.error());
    *out = std::move(*found);
    return Status::OK;
  }
  Status GetRoutes(ServerContext*, const v1::GetRoutesRequest*, v1::RouteTable* out) override {
    *out = route_table_of(*ports_.view()->state);
    return Status::OK;
  }
  Status PlanRoutes(ServerContext*, const v1::PlanRoutesRequest* in, v1::RoutePlan* out) override {
    *out = ports_.routes->plan(*ports_.view()->state, in->text());
    return Status::OK;
  }

  Status ListServices(ServerContext*, const v1::ListServicesRequest*, v1::ServiceList* out) override {
    *out = service_list(*ports_.view()->state);
    return Status::OK;
  }
  Status ListCapabilities(ServerContext*, const v1::ListCapabilitiesRequest*, v1::CapabilityList* out) override {
    *out = capability_list(*ports_.view()->state);
    return Status::OK;
  }

  /// Events as they are stored, from any sequence on.
  Status WatchEvents(ServerContext* context, const v1::WatchEventsRequest* in, grpc::ServerWriter<v1::EventView>* out) override {
    const Reading reading(readers_);
    if (!reading.allowed()) return Reading::refusal();
    const Sequence applied = ports_.view()->state->applied;
    const Sequence from{in->from() != 0 ? in->from() : applied.value + 1};
    if (!in->follow() && from.value > applied.value + 1)
      return {StatusCode::INVALID_ARGUMENT, "events from " + std::to_string(from.value) + ": the log has events 1 to " + std::to_string(applied.value)};
    if (!in->follow() && from > applied) return Status::OK;
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
    const Reading reading(readers_);
    if (!reading.allowed()) return Reading::refusal();
    const auto live = ports_.view();
    const Sequence head{in->to() != 0 ? in->to() : live->status->sequence()};
    if (head > Sequence{live->status->sequence()})
      return {StatusCode::INVALID_ARGUMENT, "replay to " + std::to_string(head.value) + ": this node has folded " +
                                                std::to_string(live->status->sequence()) + " events"};
    v1::ReplayProgress progress;
    progress.set_head(head.value);
    const auto folded = fold_log(ports_.reader, {.sequence = head}, [&] { return context->IsCancelled(); }, [&](const State& state) {
      progress.set_sequence(state.applied.value);
      out->Write(progress);
    });
    if (!folded) return status_of(folded.error());
    progress.set_sequence(folded->state.applied.value);
    progress.set_done(true);
    progress.set_digest(to_text(state_digest(folded->state)));
    progress.set_chain(folded->chain);
    if (head == Sequence{live->status->sequence()}) {
      progress.set_live_digest(live->status->digest());
      progress.set_equal(progress.digest() == live->status->digest() && folded->chain == live->status->chain());
    }
    out->Write(progress);
    return Status::OK;
  }

  Status GetState(ServerContext* context, const v1::GetStateRequest* in, v1::StateAt* out) override {
    const Reading reading(readers_);
    if (!reading.allowed()) return Reading::refusal();
    FoldLimit limit{.sequence = ports_.view()->state->applied};
    if (limit.sequence.value == 0) return {StatusCode::UNAVAILABLE, "state: this node has folded nothing of the log yet; see `daarionctl status`"};
    if (Sequence{in->sequence()} > limit.sequence)
      return {StatusCode::INVALID_ARGUMENT, "state at " + std::to_string(in->sequence()) + ": the log has events 1 to " + std::to_string(limit.sequence.value)};
    if (in->sequence() != 0) limit.sequence = {in->sequence()};
    if (in->sequence() == 0 && !in->time().empty()) {
      const auto time_ns = parse_time(in->time());
      if (!time_ns) return {StatusCode::INVALID_ARGUMENT, "state at " + in->time().substr(0, 64) + ": give a sequence, or a time like 2026-11-24T01:02:03Z"};
      limit.time_ns = *time_ns;
    }
    const auto folded = fold_log(ports_.reader, limit, [&] { return context->IsCancelled(); });
    if (!folded) return status_of(folded.error());
    out->set_sequence(folded->state.applied.value);
    out->set_time(time_text(folded->state.applied_ns));
    out->set_digest(to_text(state_digest(folded->state)));
    out->set_chain(folded->chain);
    out->set_state(state_json(folded->state));
    return Status::OK;
  }

  Status Explain(ServerContext*, const v1::ExplainRequest* in, v1::Explanation* out) override {
    const Reading reading(readers_);
    if (!reading.allowed()) return Reading::refusal();
    const auto view = ports_.view();
    Sequence at{in->sequence()};
    if (at.value == 0) {
      const auto newest = newest_decision(*view->state, in->resource());
      if (!newest) return status_of(newest.error());
      if (newest->value == 0) return {StatusCode::FAILED_PRECONDITION, "nothing was decided about " + in->resource() + " yet; see `daarionctl why-not`, `services`, `capabilities`"};
      at = *newest;
    }
    const auto why = explain_at(ports_.reader, at, view->state->applied);
    if (!why) return status_of(why.error());
    *out = *why;
    return Status::OK;
  }

  Status GetIncident(ServerContext*, const v1::GetIncidentRequest* in, v1::Incident* out) override {
    const Reading reading(readers_);
    if (!reading.allowed()) return Reading::refusal();
    const auto incident = incident_at(ports_.reader, {in->sequence()}, ports_.view()->state->applied);
    if (!incident) return status_of(incident.error());
    *out = *incident;
    return Status::OK;
  }

  Status ExplainNow(ServerContext*, const v1::ExplainNowRequest* in, v1::Explanation* out) override {
    const auto resource = resource_named(in->resource());
    if (!resource) return status_of(resource.error());
    const auto view = ports_.view();
    const auto then = view->if_holder_dies.find(*resource);
    if (then == view->if_holder_dies.end())
      return {StatusCode::INVALID_ARGUMENT, resource->value + " is not led by this control plane; see `daarionctl resources`"};
    *out = explain_now(then->second);
    return Status::OK;
  }

  Status Lint(ServerContext*, const v1::LintRequest* in, v1::LintResponse* out) override {
    *out = lint_view(in->text(), in->strict());
    return Status::OK;
  }

 private:
  /// Of a data system, a service or a capability; 0: none yet. Errors: kFixInput for a name that none of them has.
  Result<Sequence> newest_decision(const State& state, const std::string& text) const {
    if (const auto moved = state.services.find(ResourceId(text)); moved != state.services.end() || state.topology.spec.service(text) != nullptr)
      return moved == state.services.end() ? Sequence{} : moved->second.changed;
    if (state.topology.spec.capabilities.contains(text)) {
      const auto moved = state.routes.find(text);
      return moved == state.routes.end() ? Sequence{} : moved->second.changed;
    }
    const auto resource = resource_named(text);
    if (!resource) return tl::unexpected(resource.error());
    const LeaseState* lease = state.lease(*resource);
    return lease == nullptr ? Sequence{} : lease->decided;
  }
  Result<ResourceId> resource_named(const std::string& text) const {
    const auto view = ports_.view();
    std::vector<std::string> known;
    for (const ResourceSpec& r : view->state->topology.spec.resources) known.push_back(r.id.value);
    for (const v1::ResourceStatus& r : view->status->resources())
      if (std::ranges::find(known, r.id()) == known.end()) known.push_back(r.id());
    return fold_name("resource", text, known).map([](const std::string& id) { return ResourceId(id); });
  }
  Result<NodeId> node_named(const std::string& text) const {
    std::vector<std::string> known;
    for (const v1::NodeStatus& n : ports_.view()->status->nodes()) known.push_back(n.id());
    return fold_name("node", text, known, ports_.aliases).map([](const std::string& id) { return NodeId(id); });
  }
  Result<NodeId> node_or_none(const std::string& text) const { return text.empty() ? Result<NodeId>(NodeId{}) : node_named(text); }

  /// The event as it was stored; for a request that was taken before, the one that it made then.
  Status give(const Result<OperatorAnswer>& answer, v1::Mutation* out) const {
    if (!answer) return status_of(answer.error());
    LogEvent event = answer->event;
    std::string subject = answer->subject;
    if (answer->repeated) {
      const auto first = event_at(ports_.reader, event.sequence);
      if (!first) return status_of(first.error());
      event = *first;
      subject = log_subject(event.event.header.aggregate, event.event.header.version);
    }
    *out->mutable_event() = view_of(event, subject);
    if (event.stored_ns == 0) out->mutable_event()->set_time("");  // its time is the log's, and not known here
    out->set_sequence(event.sequence.value);
    out->set_dry_run(answer->dry_run);
    out->set_outcome(answer->outcome);
    if (!answer->whom.empty()) out->mutable_event()->set_to(answer->whom);
    return Status::OK;
  }

  template <class Call>
  Status with(const std::string& resource_text, const std::string& from_text, const std::string& to_text, const Call& call) {
    const auto resource = resource_named(resource_text);
    if (!resource) return status_of(resource.error());
    const auto from = node_or_none(from_text);
    if (!from) return status_of(from.error());
    const auto to = node_or_none(to_text);
    if (!to) return status_of(to.error());
    return call(*resource, *from, *to);
  }
  template <class Call>
  Status with_or_cluster(const std::string& resource_text, const Call& call) {
    if (resource_text.empty()) return call(ResourceId{});
    const auto resource = resource_named(resource_text);
    return resource ? call(*resource) : status_of(resource.error());
  }
  template <class Request>
  Status of_replica(const Request& in, Result<OperatorAnswer> (Operator::*verb)(const ResourceId&, const NodeId&, const OperatorIntent&), v1::Mutation* out) {
    return with(in.resource(), "", in.node(), [&](const ResourceId& resource, const NodeId&, const NodeId& node) {
      return give(((*ports_.operations).*verb)(resource, node, intent_of(in.intent())), out);
    });
  }
  Status set_intent(const std::string& node_text, MemberIntent wanted, const v1::Intent& intent, v1::Mutation* out) {
    const auto node = node_named(node_text);
    return node ? give(ports_.operations->set_member_intent(*node, wanted, intent_of(intent)), out) : status_of(node.error());
  }

  AdminPorts ports_;
  std::atomic<int> readers_{0};
};

class AdminServer final : public GrpcServer {
 public:
  explicit AdminServer(AdminPorts ports) : service_(std::move(ports)) {}
  ~AdminServer() override {
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  }
  bool listen(const std::string& bind, std::uint32_t port) {
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // else two daemons share the port without a word
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingEvery);
    builder.SetMaxReceiveMessageSize(kMaxMessage);
    builder.AddListeningPort(bind + ":" + std::to_string(port), grpc::InsecureServerCredentials(), &bound_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    return server_ != nullptr && bound_ != 0;
  }
  std::uint32_t port() const override { return static_cast<std::uint32_t>(bound_); }

 private:
  AdminService service_;
  int bound_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

Result<std::unique_ptr<GrpcServer>> GrpcServer::start(const std::string& bind, std::uint32_t port, AdminPorts ports) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  auto server = std::make_unique<AdminServer>(std::move(ports));
  if (!server->listen(bind, port))
    return fail(Remedy::kFixInput, "listen for gRPC on " + bind + ":" + std::to_string(port) +
                                       ": the port is taken or the address is not this machine's; set control.grpc_port or control.bind");
  return server;
}

}  // namespace daarion
