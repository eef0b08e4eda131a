#include "tests/routing/route_rig.h"

#include "streams/js_request.h"
#include "streams/route_streams.h"

namespace daarion::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kAgain(50);
constexpr std::int64_t kReadWaitMs = 2000;
constexpr std::chrono::seconds kConsumerWithin(30);

RoutePlan plan_for(const NatsServers& servers) { return plan_routes(servers.file().spec); }

}  // namespace

std::vector<RouteRule> users_rules() {
  constexpr std::uint64_t kDay = 86'400, kMiB = 1 << 20;
  return {{.name = "message", .subjects = {"message.*"}, .max_age_s = 7 * kDay, .max_bytes = 256 * kMiB},
          {.name = "attachment", .subjects = {"attachment.*"}, .max_age_s = 30 * kDay, .max_bytes = 256 * kMiB},
          {.name = "agent_run", .subjects = {"agent.run.*"}, .max_age_s = 7 * kDay, .max_bytes = 256 * kMiB, .consumers = {{"runner", "agent.run.requested.*"}}},
          {.name = "node_local", .subjects = {"node.{node_id}.local.*"}, .cls = RouteClass::kNodeLocal},
          {.name = "cache", .subjects = {"cache.invalidate.*"}, .cls = RouteClass::kEdgeLocal}};
}

RouteRig::RouteRig(RouteWorld size)
    : world(std::move(size)), servers({.size = world.core, .edges = world.edges, .witness = world.witness, .routes = users_rules(), .binary = world.binary}),
      plan(plan_for(servers)) {
  for (int i = 0; i < servers.size(); ++i)
    if (!servers.is_witness(i)) (servers.is_edge(i) ? edge_nodes : core_nodes).push_back(i);
  core = connect(servers, core_nodes, NatsServers::Account::kRoutes);
  for (const int i : edge_nodes) edges.push_back(connect(servers, {i}, NatsServers::Account::kRoutes));
  if (!edges.empty()) edge = edges.front();
  const auto done = until_done([&] { return apply_core().left; });
  EXPECT_TRUE(done) << done.error().message;
  for (std::size_t i = 0; i < edges.size(); ++i) {
    const auto there = until_done([&] { return apply_edge(i).left; });
    EXPECT_TRUE(there) << there.error().message;
  }
}

std::vector<int> RouteRig::nodes() const {
  std::vector<int> out = core_nodes;
  out.insert(out.end(), edge_nodes.begin(), edge_nodes.end());
  return out;
}

std::unique_ptr<Publisher> RouteRig::publisher(const std::vector<int>& order, std::vector<std::string> subjects, int least, const std::atomic<bool>& until) const {
  return std::make_unique<Publisher>(servers.endpoint(order, "service", NatsServers::Account::kApp), servers.name(order.front()), std::move(subjects), least, until);
}

CopyKeepers::CopyKeepers(RouteRig& rig, Duration still) : rig_(rig) {
  for (const int i : rig.core_nodes) cores.push_back(make_source_copies(rig.core, rig.node(i), still));
  for (std::size_t i = 0; i < rig.edges.size(); ++i) edges.push_back(make_mirror_copies(rig.edges[i], rig.node(rig.edge_nodes[i]), "core", still));
}

std::vector<RouteWork> CopyKeepers::tend() {
  std::vector<RouteWork> out;
  for (const auto* keepers : {&cores, &edges})
    for (const auto& keeper : *keepers) out.push_back(keeper->tend(rig_.plan, seconds(2)));
  for (std::size_t i = 0; i < edges.size(); ++i) out.push_back(rig_.apply_edge(i));
  return out;
}

bool set_repeat_window(Connection& core, const std::string& stream, Duration window) {
  const auto info = js_request(core, "$JS.API.STREAM.INFO." + stream, nullptr, seconds(2));
  if (!info || !info->contains("config")) return false;
  nlohmann::json config = (*info)["config"];
  config["duplicate_window"] = std::chrono::nanoseconds(window).count();
  const auto done = js_request(core, "$JS.API.STREAM.UPDATE." + stream, config, seconds(2));
  return done && !done->contains("error");
}

std::uint64_t last_sequence_of(Connection& connection, const std::string& stream) {
  const auto info = js_request(connection, "$JS.API.STREAM.INFO." + stream, nullptr, seconds(2));
  return info && info->contains("state") ? (*info)["state"].value("last_seq", std::uint64_t{0}) : 0;
}

Log log_of(const RouteRig& rig) {
  Log log;
  log.add(LogCreated{log_id(), "test", {}});
  log.add(TopologyChanged{rig.servers.file().spec, "hash"});
  return log;
}

Ear::Ear(const NatsEndpoint& as) : connection_(Connection::open(as).value()), thread_([this] { run(); }) {}

void Ear::run() {
  std::shared_ptr<Link> link;
  Subscription all;
  while (!closed_) {
    if (auto now = connection_->handles().link(); now != link) {
      link = std::move(now);
      natsSubscription* raw = nullptr;
      if (natsConnection_SubscribeSync(&raw, link->nc, ">") != NATS_OK) {
        link.reset();
        std::this_thread::sleep_for(kAgain);
        continue;
      }
      natsSubscription_SetPendingLimits(raw, -1, -1);
      all.take(link, raw);
    }
    natsMsg* got = nullptr;
    if (natsSubscription_NextMsg(&got, all.get(), kAgain.count()) != NATS_OK) continue;
    const MsgPtr message(got);
    const std::string_view subject = natsMsg_GetSubject(got);
    if (subject.starts_with("_") || subject.starts_with("$")) continue;
    const std::lock_guard lock(mutex_);
    ++heard_[std::string(subject)];
  }
  all.reset();
  nats_ReleaseThreadMemory();
}

Ear::~Ear() {
  closed_ = true;
  thread_.join();
}

std::map<std::string, int> Ear::heard() const {
  const std::lock_guard lock(mutex_);
  return heard_;
}

Tally read_all(Connection& connection, const std::string& stream, const std::string& filter) {
  Tally out;
  const auto info = js_request(connection, "$JS.API.STREAM.INFO." + stream, nullptr, seconds(5));
  if (!info || !info->contains("state")) {
    out.note = "no answer of " + stream;
    return out;
  }
  const std::uint64_t last = (*info)["state"].value("last_seq", std::uint64_t{0});
  // A consumer needs the meta leader, which may be in election after a kill although every stream has its own.
  Subscription subscription;
  std::string refusal;
  const bool made = becomes([&] {
    const auto link = connection.handles().link();
    if (!link) return false;
    jsSubOptions options{};
    jsSubOptions_Init(&options);
    options.Stream = stream.c_str();
    options.Ordered = true;
    natsSubscription* raw = nullptr;
    jsErrCode code{};
    const natsStatus status = js_SubscribeSync(&raw, link->js, filter.c_str(), nullptr, &options, &code);
    if (status == NATS_OK) subscription.take(link, raw);
    else refusal = std::string(natsStatus_GetText(status)) + ", code " + std::to_string(code);
    return status == NATS_OK;
  }, kConsumerWithin);
  if (!refusal.empty()) {
    std::printf("a consumer of %s was refused: %s\n", stream.c_str(), refusal.c_str());
    out.note += "; a consumer of " + stream + (made ? " was refused at first: " : " was refused: ") + refusal;
  }
  if (!made) return out;
  std::map<std::string, int> newest;  // number, by origin
  bool gap = false;
  for (std::uint64_t at = 0; at < last;) {
    natsMsg* got = nullptr;
    if (natsSubscription_NextMsg(&got, subscription.get(), kReadWaitMs) != NATS_OK) {
      out.note += "; " + stream + " gave " + std::to_string(at) + " of " + std::to_string(last);
      break;
    }
    const MsgPtr message(got);
    jsMsgMetaData* raw_meta = nullptr;
    if (natsMsg_GetMetaData(&raw_meta, got) != NATS_OK) continue;
    const MetaPtr meta(raw_meta);
    at = meta->Sequence.Stream;
    const std::string payload = data_of(got);
    if (!out.seen.insert(payload).second) {
      ++out.repeats;
      continue;
    }
    const std::string origin = payload.substr(0, payload.find(' '));
    const int n = std::atoi(payload.substr(payload.rfind(' ') + 1).c_str());
    ++out.first[origin];
    const auto [last_of, first] = newest.try_emplace(origin, n);
    if (!first && n < last_of->second && out.disorders++ == 0)
      out.note += "; " + stream + ": " + payload + " at " + std::to_string(at) + ", behind its number " + std::to_string(last_of->second);
    if (!first && n > last_of->second + 1 && !std::exchange(gap, true)) out.note += "; " + stream + ": " + payload + " at " + std::to_string(at) + " comes after number " + std::to_string(last_of->second);
    last_of->second = std::max(last_of->second, n);
  }
  return out;
}

}  // namespace daarion::test
