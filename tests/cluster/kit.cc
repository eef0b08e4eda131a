#include "tests/cluster/kit.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "consumers/state_store.h"
#include "controlplane/core/fold.h"
#include "controlplane/node/clock.h"
#include "proto/daarion/v1/admin.grpc.pb.h"
#include "streams/codec.h"
#include "streams/js_request.h"
#include "streams/log_replicas.h"
#include "streams/log_stream.h"
#include "streams/nats_log_reader.h"

namespace daarion::test {
namespace {

using std::chrono::seconds;
using Kind = NatsServerPlan::Kind;

constexpr Duration kRead = seconds(10);
constexpr std::uint64_t kCompared = 64;   // of the newest events, in each replica of the log
constexpr Duration kAdmin = seconds(15);  // an append may wait for an election

// What follows a leader answers it every second. For 10 s a server that is lost is shown as before.
constexpr std::int64_t kSilentNs = 3'000'000'000;

Result<std::shared_ptr<Connection>> connect(dev::LocalCluster& cluster, const std::vector<NatsServerPlan>& servers, Duration limit, const char* user = kControlUser) {
  const bool sys = std::string_view(user) == kSysUser;
  NatsEndpoint endpoint{.urls = {}, .user = user, .password = cluster.secrets()[sys ? "DAARION_SYS_PASSWORD" : "DAARION_CONTROL_PASSWORD"], .name = "test"};
  for (const NatsServerPlan& s : servers) endpoint.urls.push_back(s.url());
  auto connection = Connection::open(endpoint);
  if (!connection) return connection;
  if (auto up = (*connection)->wait_connected(limit); !up) return tl::unexpected(up.error());
  return connection;
}

std::vector<NatsServerPlan> core_servers(const dev::LocalCluster& cluster, const NodeId& last) {
  std::vector<NatsServerPlan> core;
  for (NatsServerPlan& s : cluster.servers())
    if (s.kind != Kind::kLeaf) core.push_back(std::move(s));
  std::ranges::stable_partition(core, [&](const NatsServerPlan& s) { return s.node != last; });
  return core;
}

Result<LogRead> read(LogReader& reader, Sequence from, Sequence to) {
  LogRead out;
  State state;
  std::vector<StateKey> touched;
  for (Sequence at = from; at <= to;) {
    const auto message = reader.next(kRead);
    if (!message) return tl::unexpected(message.error());
    if (!*message) return fail(Remedy::kRetry, "read the log: event " + std::to_string(at.value) + " did not come in 10 s");
    auto event = decode_event(**message);
    if (!event) return tl::unexpected(event.error());
    out.chain = chain_next(out.chain, **message);
    if (from.value == 1) fold_into(state, *event, touched);
    at = Sequence{event->sequence.value + 1};
    out.events.push_back(std::move(*event));
  }
  out.digest = state_digest(state);
  return out;
}

/// `call`: given stub, context and where the answer goes.
template <class Answer, class Call>
Result<Answer> ask(const dev::LocalCluster& cluster, const NodeId& at, const char* what, Call call) {
  const auto stub = v1::Admin::NewStub(grpc::CreateChannel(cluster.server_of(at), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAdmin);
  Answer answer;
  const grpc::Status status = call(*stub, context, answer);
  if (!status.ok()) return fail(Remedy::kRetry, std::string(what) + " at " + at.value + ": " + status.error_message(), Effect::kMaybe);
  return answer;
}

/// One request with one answer.
template <class Request, class Answer>
Result<Answer> ask(const dev::LocalCluster& cluster, const NodeId& at, const char* what,
                   grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*, const Request&, Answer*), const Request& request) {
  return ask<Answer>(cluster, at, what, [&](v1::Admin::Stub& stub, grpc::ClientContext& context, Answer& answer) { return (stub.*method)(&context, request, &answer); });
}

/// A change of a node's intent.
template <class Request>
Result<v1::Mutation> intend(const dev::LocalCluster& cluster, const NodeId& at, const NodeId& node, const std::string& reason, const char* what,
                            grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*, const Request&, v1::Mutation*)) {
  Request request;
  request.set_node(node.value);
  request.mutable_intent()->set_reason(reason);
  return ask(cluster, at, what, method, request);
}

/// A change that is asked for with this reason.
template <class Request>
Request request_of(const std::string& resource, const std::string& reason) {
  Request request;
  request.set_resource(resource);
  request.mutable_intent()->set_reason(reason);
  request.mutable_intent()->set_actor("test");
  return request;
}

/// What a replica is asked for.
template <class Request>
Result<v1::Mutation> ask_replica(const dev::LocalCluster& cluster, const NodeId& at, const NodeId& node, const std::string& reason, const std::string& resource, const char* what,
                                 grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*, const Request&, v1::Mutation*)) {
  auto request = request_of<Request>(resource, reason);
  request.set_node(node.value);
  return ask(cluster, at, what, method, request);
}

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 256> buffer{};
  while (pipe && fgets(buffer.data(), buffer.size(), pipe)) out += buffer.data();
  if (pipe) pclose(pipe);
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  return out;
}

}  // namespace

Result<ScratchCluster> ScratchCluster::make(int nodes, dev::Say say, const std::string& max_promotions, bool netns,
                                             const std::string& data_dir, const std::set<std::string>& engines) {
  auto network = dev::Network::claim(netns ? 10 : 127);
  if (!network) return tl::unexpected(network.error());
  std::string folder = "/var/tmp/daarion-test-XXXXXX";  // short, and the engine's user may pass
  if (mkdtemp(folder.data()) == nullptr) return fail(Remedy::kFixInput, "make a folder in /var/tmp: no right to");
  auto cluster = dev::LocalCluster::create({.nodes = nodes, .folder = folder, .prefix = network->prefix(), .say = std::move(say), .netns = netns, .max_promotions = max_promotions,
                                            .data_dir = data_dir, .engines = engines});
  if (!cluster) return tl::unexpected(cluster.error());
  return ScratchCluster(std::move(*network), std::move(*cluster));
}

/// A child that ends the cluster when this process is gone: interrupted, crashed, or killed at a test's time limit. It holds the network's
/// lock until then.
class ScratchCluster::Watcher {
 public:
  Watcher(const dev::LocalCluster& cluster, dev::Network& network) {
    if (::pipe2(pipe_, O_CLOEXEC) != 0) return;
    child_ = ::fork();
    if (child_ != 0) return;
    ::setsid();  // an interrupt at the keyboard is not for it
    ::prctl(PR_SET_NAME, "daarion-scratch");
    ::close(pipe_[1]);
    char word = 0;
    while (::read(pipe_[0], &word, 1) < 0 && errno == EINTR) {}
    if (word != kDone) {
      std::error_code ignored;
      for (const auto& entry : std::filesystem::directory_iterator(cluster.folder(), ignored))
        if (entry.is_directory(ignored)) (void)dev::kill_all_of(entry.path().string(), seconds(10));
      if (cluster.network()) (void)dev::NodeNetwork(*cluster.network()).remove();
      std::filesystem::remove_all(cluster.folder(), ignored);
      network.release();
    }
    ::_exit(0);
  }
  ~Watcher() {
    if (child_ <= 0) return;
    [[maybe_unused]] const auto told = ::write(pipe_[1], &kDone, 1);
    ::close(pipe_[0]);
    ::close(pipe_[1]);
    ::waitpid(child_, nullptr, 0);
  }

 private:
  static constexpr char kDone = 'd';
  int pipe_[2] = {-1, -1};
  pid_t child_ = -1;
};

ScratchCluster::ScratchCluster(dev::Network network, dev::LocalCluster cluster)
    : network_(std::make_unique<dev::Network>(std::move(network))), cluster_(std::make_unique<dev::LocalCluster>(std::move(cluster))),
      watcher_(std::make_unique<Watcher>(*cluster_, *network_)) {}
ScratchCluster::ScratchCluster(ScratchCluster&&) noexcept = default;
ScratchCluster::~ScratchCluster() {
  if (!cluster_ || keep_) return;
  if (auto down = cluster_->down(false); !down) std::fprintf(stderr, "%s\n", down.error().message.c_str());
}
void ScratchCluster::keep() {
  keep_ = true;
  watcher_.reset();
}

Result<std::shared_ptr<Connection>> core_connection(dev::LocalCluster& cluster, const NodeId& last, Duration limit) {
  return connect(cluster, core_servers(cluster, last), limit);
}
Result<std::shared_ptr<Connection>> sys_connection(dev::LocalCluster& cluster, const NodeId& last, Duration limit) {
  return connect(cluster, core_servers(cluster, last), limit, kSysUser);
}

Result<Followers> followers_of(Connection& core, const std::string& stream) {
  const auto info = js_request(core, "$JS.API.STREAM.INFO." + stream, nullptr, seconds(1));
  if (!info) return tl::unexpected(info.error());
  // Without a leader a server tells what it knew when there was one.
  if (!info->contains("state") || !info->contains("cluster") || (*info)["cluster"].value("leader", "").empty()) return fail(Remedy::kRetry, stream + " has no leader");
  Followers out{.last = (*info)["state"].value("last_seq", std::uint64_t{0})};
  for (const auto& follower : (*info)["cluster"].value("replicas", nlohmann::json::array())) {
    ++out.all;
    const bool there = !follower.value("offline", false) && follower.value("active", std::int64_t{0}) < kSilentNs;
    out.whole += there && follower.value("current", false) && follower.value("lag", 0) == 0 ? 1 : 0;
  }
  return out;
}

Result<Followers> log_followers(dev::LocalCluster& cluster, const NodeId& avoid) {
  const auto connection = core_connection(cluster, avoid, seconds(1));
  return connection ? followers_of(**connection, kClusterLog) : tl::unexpected(connection.error());
}

Result<std::size_t> whole_followers(dev::LocalCluster& cluster, const NodeId& avoid) {
  std::size_t least = core_servers(cluster, avoid).size() - 1;
  for (const char* user : {kControlUser, kRoutesUser}) {
    const auto connection = connect(cluster, core_servers(cluster, avoid), seconds(1), user);
    if (!connection) return tl::unexpected(connection.error());
    const auto names = js_request(**connection, "$JS.API.STREAM.NAMES", nullptr, seconds(1));
    if (!names) return tl::unexpected(names.error());
    // Null: the leader that answers knows none, as one that has just begun.
    if (!names->contains("streams") || !(*names)["streams"].is_array()) return fail(Remedy::kRetry, std::string("no stream of ") + user + " is known");
    for (const std::string name : (*names)["streams"]) {
      const auto followers = followers_of(**connection, name);
      if (!followers) return tl::unexpected(followers.error());
      if (followers->all > 0) least = std::min(least, followers->whole);
    }
  }
  return least;
}

Result<bool> log_followers_agree(dev::LocalCluster& cluster, const NodeId& avoid) {
  const auto followers = log_followers(cluster, avoid);
  if (!followers) return tl::unexpected(followers.error());
  const auto log = read_log(cluster, Sequence{followers->last > kCompared ? followers->last - kCompared : 1}, Sequence{followers->last}, avoid);
  if (!log) return tl::unexpected(log.error());
  const auto connection = core_connection(cluster, avoid, seconds(1));
  if (!connection) return tl::unexpected(connection.error());
  EventHeads heads;
  for (const LogEvent& e : log->events) heads.push_back(head_of(e));
  const auto keeper = make_replica_keeper(*connection, nullptr, kClusterLog, {}, static_cast<int>(followers->all) + 1);
  keeper->rest(heads);
  return keeper->may_lead(seconds(1));
}

Result<void> make_probe_table(dev::LocalCluster& cluster, const NodeId& holder) {
  if (auto made = cluster.make_application(holder); !made) return tl::unexpected(made.error());
  return dev::make_probe_table(cluster.application(holder), std::chrono::seconds(5));
}

Result<LogRead> read_log(dev::LocalCluster& cluster, Sequence from, Sequence to, const NodeId& avoid) {
  auto connection = core_connection(cluster, avoid, kRead);
  if (!connection) return tl::unexpected(connection.error());
  const auto reader = make_nats_log_reader({*connection}, kClusterLog, from);
  return read(*reader, from, to);
}

Result<LogRead> read_mirror(dev::LocalCluster& cluster, const NodeId& edge, Sequence to) {
  std::vector<NatsServerPlan> leaf;
  for (NatsServerPlan& s : cluster.servers())
    if (s.kind == Kind::kLeaf && s.node == edge) leaf.push_back(std::move(s));
  if (leaf.empty()) return fail(Remedy::kFixInput, edge.value + " has no mirror: it is no edge");
  auto connection = connect(cluster, leaf, kRead);
  if (!connection) return tl::unexpected(connection.error());
  const auto reader = make_nats_log_reader({*connection}, kLogMirror, Sequence{1});
  return read(*reader, Sequence{1}, to);
}

Result<v1::Mutation> switchover(const dev::LocalCluster& cluster, const NodeId& at, const NodeId& to, const std::string& reason,
                                const std::string& resource) {
  auto request = request_of<v1::SwitchoverRequest>(resource, reason);
  request.set_to(to.value);
  return ask(cluster, at, "switchover", &v1::Admin::Stub::Switchover, request);
}

std::shared_ptr<void> keep_connected(const dev::LocalCluster& cluster, const NodeId& at) {
  auto channel = grpc::CreateChannel(cluster.server_of(at), grpc::InsecureChannelCredentials());
  channel->WaitForConnected(std::chrono::system_clock::now() + kAdmin);
  return channel;
}

Result<v1::Mutation> rejoin(const dev::LocalCluster& cluster, const NodeId& at, const NodeId& node, const std::string& reason, const std::string& resource) {
  return ask_replica<v1::RejoinRequest>(cluster, at, node, reason, resource, "rejoin", &v1::Admin::Stub::Rejoin);
}

Result<v1::Mutation> restart(const dev::LocalCluster& cluster, const NodeId& at, const NodeId& node, const std::string& reason, const std::string& resource) {
  return ask_replica<v1::RestartRequest>(cluster, at, node, reason, resource, "restart", &v1::Admin::Stub::Restart);
}

Result<v1::Mutation> drain(const dev::LocalCluster& cluster, const NodeId& at, const NodeId& node, const std::string& reason) {
  return intend<v1::DrainRequest>(cluster, at, node, reason, "drain", &v1::Admin::Stub::Drain);
}
Result<v1::Mutation> undrain(const dev::LocalCluster& cluster, const NodeId& at, const NodeId& node, const std::string& reason) {
  return intend<v1::UndrainRequest>(cluster, at, node, reason, "undrain", &v1::Admin::Stub::Undrain);
}

Result<v1::Explanation> explain(const dev::LocalCluster& cluster, const NodeId& at, Sequence sequence) {
  v1::ExplainRequest request;
  request.set_sequence(sequence.value);
  return ask(cluster, at, "why", &v1::Admin::Stub::Explain, request);
}

Result<v1::ReplayProgress> replay(const dev::LocalCluster& cluster, const NodeId& at, Sequence to) {
  v1::ReplayRequest request;
  request.set_to(to.value);
  return ask<v1::ReplayProgress>(cluster, at, "replay", [&](v1::Admin::Stub& stub, grpc::ClientContext& context, v1::ReplayProgress& answer) {
    const auto stream = stub.Replay(&context, request);
    while (stream->Read(&answer)) {}
    return stream->Finish();
  });
}

std::optional<dev::ProcessId> daemon_of(const dev::LocalCluster& cluster, const NodeId& node) {
  const auto all = cluster.processes(node, dev::Part::kDaemon);
  const auto is_child = [&](const dev::ProcessInfo& p) { return std::ranges::any_of(all, [&](const dev::ProcessInfo& other) { return other.id.pid == p.parent; }); };
  const auto found = std::ranges::find_if_not(all, is_child);
  return found == all.end() ? std::nullopt : std::optional(found->id);
}

std::int64_t wall_of(Instant at) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec - (node_now() - at).count();
}

std::string server_versions() {
  const char* nats = std::getenv("NATS_SERVER");
  const std::string server = output_of(std::string(nats ? nats : "nats-server") + " --version");
  const std::string pg = output_of("ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1");
  const std::string version = output_of(pg + "/postgres --version");  // "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"
  const std::size_t at = version.find(") ");
  const std::string number = at == std::string::npos ? "unknown" : version.substr(at + 2, version.find(' ', at + 2) - at - 2);
  const std::string told = output_of("redis-server --version");  // "Redis server v=7.0.15 sha=..."
  const std::size_t v = told.find("v=");
  const std::string redis = v == std::string::npos ? "unknown" : told.substr(v + 2, told.find(' ', v) - v - 2);
  return "nats-" + (server.rfind('v') == std::string::npos ? "unknown" : server.substr(server.rfind('v') + 1)) + ",pg-" + number + ",redis-" + redis;
}

}  // namespace daarion::test
