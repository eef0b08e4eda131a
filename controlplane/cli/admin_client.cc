#include "controlplane/cli/admin_client.h"

#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "controlplane/topology/render.h"
#include "proto/daarion/v1/admin.grpc.pb.h"

namespace daarion {
namespace {

using grpc::ClientContext;
using grpc::StatusCode;
using std::chrono::steady_clock;

constexpr auto kFirstAnswer = std::chrono::seconds(1);  // a node that answers no status within this is passed over
constexpr int kPingEvery = 5000;    // ms: a frozen server ends a watch within twice this
constexpr int kMaxMessage = 64 << 20;  // bytes of an answer: a state as JSON
constexpr std::uint32_t kDefaultPort = 9350;

/// What is left of the time, on the clock that gRPC takes deadlines by.
std::chrono::system_clock::time_point on_wall(Deadline until) {
  return std::chrono::system_clock::now() + std::chrono::duration_cast<std::chrono::system_clock::duration>(until - steady_clock::now());
}

ExitCode code_of(StatusCode code) {
  switch (code) {
    case StatusCode::INVALID_ARGUMENT:
    case StatusCode::NOT_FOUND: return ExitCode::kUsage;
    case StatusCode::UNAVAILABLE: return ExitCode::kUnreachable;
    case StatusCode::FAILED_PRECONDITION: return ExitCode::kRefused;
    case StatusCode::ABORTED: return ExitCode::kPreconditionMoved;
    case StatusCode::DEADLINE_EXCEEDED: return ExitCode::kTimedOut;
    default: return ExitCode::kFailed;
  }
}

/// gRPC's own texts name its internals; a person needs the cause.
std::string cause_of(const grpc::Status& status) {
  const std::string& text = status.error_message();
  if (status.error_code() == StatusCode::DEADLINE_EXCEEDED) return "no answer in 1 s";
  if (text.find("refused") != std::string::npos) return "connection refused";
  if (text.find("DNS") != std::string::npos || text.find("resolution") != std::string::npos) return "unknown host";
  if (text.find("route to host") != std::string::npos || text.find("unreachable") != std::string::npos) return "no route";
  if (status.error_code() == StatusCode::UNIMPLEMENTED) return "it is another service";
  return "no control plane there";
}

CallError error_of(const grpc::Status& status, const std::string& server) {
  const ExitCode code = code_of(status.error_code());
  std::string message = status.error_message();
  if (status.error_code() == StatusCode::DEADLINE_EXCEEDED && message == "Deadline Exceeded")
    message = server + " did not answer in time: it may have happened; see `daarionctl events`, or give a longer --timeout";
  if (status.error_code() == StatusCode::UNAVAILABLE && (message.find("connect") != std::string::npos || message.find("Socket") != std::string::npos))
    message = server + " has gone away (" + cause_of(status) + "); ask again, another node answers if there is one";
  return {code, message.empty() ? "the call failed" : message};
}

Answer<std::string> parse_server(const std::string& text) {
  const auto bad = [&] { return refuse(ExitCode::kUsage, "server \"" + text + "\" is no HOST:PORT, like 10.0.0.1:9350"); };
  if (text.empty() || text.find_first_of(" /@") != std::string::npos) return bad();
  const auto colon = text.rfind(':');
  const bool in_brackets = text.back() == ']';
  if (colon == std::string::npos || in_brackets) return text + ":" + std::to_string(kDefaultPort);
  const std::string port = text.substr(colon + 1);
  if (colon == 0 || port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos) return bad();
  if (std::stoul(port) == 0 || std::stoul(port) > 65535) return bad();
  return text;
}

std::string env(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

class Client final : public AdminClient {
 public:
  Client(std::vector<std::string> servers, Globals globals) : servers_(std::move(servers)), globals_(std::move(globals)) {}

  Answer<void> reconnect() override {
    std::string tried;
    for (const std::string& server : servers_) {
      grpc::ChannelArguments args;
      args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // a cluster is never reached by the user's web proxy
      args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingEvery);
      args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingEvery);
      args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
      args.SetMaxReceiveMessageSize(kMaxMessage);
      auto stub = v1::Admin::NewStub(grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), args));
      ClientContext context;
      context.set_deadline(on_wall(steady_clock::now() + kFirstAnswer));
      v1::Status status;
      const grpc::Status got = stub->GetStatus(&context, {}, &status);
      if (got.ok()) {
        stub_ = std::move(stub);
        server_ = server;
        first_ = std::move(status);
        return {};
      }
      tried += (tried.empty() ? "" : ", ") + server + " (" + cause_of(got) + ")";
    }
    return refuse(ExitCode::kUnreachable, "no control plane answers: tried " + tried +
                                              "; start daariond there, or name a node with --server HOST:PORT, DAARION_SERVER or --context cluster.yaml");
  }
  const std::string& server() const override { return server_; }
  const v1::Status& first_status() const override { return first_; }

  using Stub = v1::Admin::Stub;
  Answer<v1::Status> call(const v1::GetStatusRequest& in) override { return unary(&Stub::GetStatus, in); }
  Answer<v1::ResourceStatus> call(const v1::GetResourceRequest& in) override { return unary(&Stub::GetResource, in); }
  Answer<v1::Mutation> call(const v1::SwitchoverRequest& in) override { return unary(&Stub::Switchover, in); }
  Answer<v1::Mutation> call(const v1::FailoverRequest& in) override { return unary(&Stub::Failover, in); }
  Answer<v1::Mutation> call(const v1::PauseRequest& in) override { return unary(&Stub::Pause, in); }
  Answer<v1::Mutation> call(const v1::ConfirmFencingRequest& in) override { return unary(&Stub::ConfirmFencing, in); }
  Answer<v1::Mutation> call(const v1::GrantOverrideRequest& in) override { return unary(&Stub::GrantOverride, in); }
  Answer<v1::Mutation> call(const v1::ResumeRequest& in) override { return unary(&Stub::Resume, in); }
  Answer<v1::Mutation> call(const v1::DrainRequest& in) override { return unary(&Stub::Drain, in); }
  Answer<v1::Mutation> call(const v1::UndrainRequest& in) override { return unary(&Stub::Undrain, in); }
  Answer<v1::Mutation> call(const v1::RetireRequest& in) override { return unary(&Stub::Retire, in); }
  Answer<v1::Mutation> call(const v1::RejoinRequest& in) override { return unary(&Stub::Rejoin, in); }
  Answer<v1::Mutation> call(const v1::RestartRequest& in) override { return unary(&Stub::Restart, in); }
  Answer<v1::Explanation> call(const v1::ExplainRequest& in) override { return unary(&Stub::Explain, in); }
  Answer<v1::Explanation> call(const v1::ExplainNowRequest& in) override { return unary(&Stub::ExplainNow, in); }
  Answer<v1::Incident> call(const v1::GetIncidentRequest& in) override { return unary(&Stub::GetIncident, in); }
  Answer<v1::StateAt> call(const v1::GetStateRequest& in) override { return unary(&Stub::GetState, in); }
  Answer<v1::Resolution> call(const v1::ResolveRequest& in) override { return unary(&Stub::Resolve, in); }
  Answer<v1::RouteTable> call(const v1::GetRoutesRequest& in) override { return unary(&Stub::GetRoutes, in); }
  Answer<v1::RoutePlan> call(const v1::PlanRoutesRequest& in) override { return unary(&Stub::PlanRoutes, in); }
  Answer<v1::ServiceList> call(const v1::ListServicesRequest& in) override { return unary(&Stub::ListServices, in); }
  Answer<v1::CapabilityList> call(const v1::ListCapabilitiesRequest& in) override { return unary(&Stub::ListCapabilities, in); }

  Answer<void> watch(const v1::WatchEventsRequest& in, Deadline until, const std::function<bool(const v1::EventView&)>& each) override {
    ClientContext context;
    if (until != kNoEnd) context.set_deadline(on_wall(until));
    const auto reader = stub_->WatchEvents(&context, in);
    v1::EventView event;
    while (reader->Read(&event))
      if (!each(event)) {
        context.TryCancel();
        while (reader->Read(&event)) {}
        reader->Finish();
        return {};
      }
    const grpc::Status got = reader->Finish();
    if (!got.ok()) return tl::unexpected(error_of(got, server_));
    return {};
  }

  Answer<v1::ReplayProgress> replay(const v1::ReplayRequest& in, const std::function<void(const v1::ReplayProgress&)>& each) override {
    ClientContext context;
    const auto reader = stub_->Replay(&context, in);
    v1::ReplayProgress progress;
    while (reader->Read(&progress))
      if (!progress.done()) each(progress);
    const grpc::Status got = reader->Finish();
    if (!got.ok()) return tl::unexpected(error_of(got, server_));
    if (!progress.done()) return refuse(ExitCode::kFailed, "replay: " + server_ + " ended it before it was done");
    return progress;
  }

 private:
  template <class Request, class Reply>
  Answer<Reply> unary(grpc::Status (Stub::*method)(ClientContext*, const Request&, Reply*), const Request& in) {
    ClientContext context;
    context.set_deadline(on_wall(steady_clock::now() + std::chrono::milliseconds(static_cast<std::int64_t>(globals_.timeout_s * 1000))));
    Reply out;
    const grpc::Status got = (stub_.get()->*method)(&context, in, &out);
    if (!got.ok()) return tl::unexpected(error_of(got, server_));
    return out;
  }

  std::vector<std::string> servers_;
  Globals globals_;
  std::string server_;
  std::unique_ptr<Stub> stub_;
  v1::Status first_;
};

}  // namespace

Answer<ClusterFile> context_file(const Globals& globals) {
  const std::string path = globals.context.empty() ? env("DAARION_CONFIG") : globals.context;
  if (path.empty()) return refuse(ExitCode::kUsage, "no cluster file: name it with --context FILE or DAARION_CONFIG");
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return refuse(ExitCode::kUsage, "read " + path + ": no such file or no right to read it; --context names a cluster file");
  ParsedFile parsed = parse_cluster_file(text.str());
  for (const Finding& finding : parsed.findings)
    if (finding.severity == Severity::kError) return refuse(ExitCode::kUsage, text_of(finding, path) + "; see `daarionctl lint " + path + "`");
  return std::move(parsed.file);
}

Answer<std::vector<std::string>> candidates(const Globals& globals) {
  std::vector<std::string> named = globals.servers;
  if (named.empty()) {
    std::stringstream list(env("DAARION_SERVER"));
    for (std::string one; std::getline(list, one, ',');)
      if (!one.empty()) named.push_back(one);
  }
  std::vector<std::string> out;
  for (const std::string& text : named) {
    const auto server = parse_server(text);
    if (!server) return tl::unexpected(server.error());
    out.push_back(*server);
  }
  if (!out.empty()) return out;
  if (globals.context.empty() && env("DAARION_CONFIG").empty()) return std::vector<std::string>{"127.0.0.1:" + std::to_string(kDefaultPort)};
  const auto file = context_file(globals);
  if (!file) return tl::unexpected(file.error());
  for (const NodeSpec& node : file->spec.nodes) {
    const std::string server = bind_of(*file, node.id) + ":" + std::to_string(file->grpc_port);
    if (std::ranges::find(out, server) == out.end()) out.push_back(server);
  }
  return out;
}

Answer<std::unique_ptr<AdminClient>> AdminClient::connect(const Globals& globals) {
  setenv("GRPC_VERBOSITY", "NONE", 0);  // what fails is said once, by daarionctl
  auto servers = candidates(globals);
  if (!servers) return tl::unexpected(servers.error());
  auto client = std::make_unique<Client>(std::move(*servers), globals);
  if (auto connected = client->reconnect(); !connected) return tl::unexpected(connected.error());
  return client;
}

}  // namespace daarion
