#include "tests/api/fake_cluster.h"

#include "consumers/state_store.h"
#include "controlplane/core/capability.h"
#include "controlplane/core/check.h"
#include "controlplane/core/routing.h"
#include "streams/codec.h"
#include "tests/unit/service_log.h"

namespace daarion::test {

constexpr std::int64_t kDayOne = 1'790'000'000'000'000'000;  // ns: 2026-09-21T14:13:20Z, the second before the first event

class FakeReader final : public LogReader {
 public:
  FakeReader(FakeCluster& cluster, Sequence from) : cluster_(cluster), next_(from) {}
  Result<std::span<StoredMessage>> read(std::size_t, Duration wait) override {
    std::unique_lock lock(cluster_.mutex_);
    cluster_.grown_.wait_for(lock, wait, [&] { return cluster_.messages_.size() >= next_.value; });
    if (cluster_.messages_.size() < next_.value) return std::span<StoredMessage>{};
    one_ = cluster_.messages_[next_.value++ - 1];
    return std::span(&one_, 1);
  }
  void heard_head(Sequence) override {}

 private:
  FakeCluster& cluster_;
  Sequence next_;
  StoredMessage one_;
};

class FakeAppender final : public Appender {
 public:
  explicit FakeAppender(FakeCluster& cluster) : cluster_(cluster) {}
  AppendResult append(const std::string& subject, const std::string& payload, const EventId&, Duration) override {
    const std::lock_guard lock(cluster_.mutex_);
    if (cluster_.appends != AppendResult::Outcome::kStored) return {.id = 0, .outcome = cluster_.appends, .sequence = {}};
    LogEvent event = *decode_event({.sequence = {cluster_.messages_.size() + 1}, .stored_ns = 0, .subject = subject, .payload = payload});
    const Sequence at = cluster_.store(event);
    if (cluster_.after) cluster_.after(cluster_.log_.events.back());
    return {.id = 0, .outcome = AppendResult::Outcome::kStored, .sequence = at};
  }

 private:
  FakeCluster& cluster_;
};

FakeCluster::FakeCluster() : now_(at(0)) {
  NodeConfig config;
  config.spec = spec_of_three();
  config.spec.resources[0].engine = "postgresql";
  config.spec.resources[0].port = 5432;
  config.identity = {.self = node(3), .run = run(3), .boot = boot(3), .instance = instance(3), .software = "daariond 0.1.0", .fresh_log = log_id(),
                     .topology_hash = "hash"};
  config.record = VoterRecord{.instance = instance(3)};
  config.uptime = seconds(100);
  core_ = std::make_unique<NodeCore>(config, now_);
  look();
}

void FakeCluster::look() {
  core_->step(StateMoved{std::make_shared<State>(log_.state), {log_.state.applied, state_digest(log_.state), chain_}}, now_);
  core_->step(TimerFired{}, now_);
  auto view = std::make_shared<StatusView>(make_status(*core_, warnings, now_, kDayOne + 60'000'000'000, memory_));
  view_ = std::move(view);
}

Sequence FakeCluster::store(LogEvent event) {
  const std::lock_guard lock(mutex_);
  event.sequence = {messages_.size() + 1};
  event.stored_ns = kDayOne + static_cast<std::int64_t>(event.sequence.value) * 1'000'000'000;
  StoredMessage message{.sequence = event.sequence, .stored_ns = event.stored_ns,
                        .subject = log_subject(event.event.header.aggregate, event.event.header.version), .payload = encode_event(event.event)};
  event = *decode_event(message);
  log_.add(event);
  chain_ = chain_next(chain_, message);
  messages_.push_back(std::move(message));
  look();
  grown_.notify_all();
  return event.sequence;
}

void FakeCluster::route() {
  TopologySpec spec = core_->state().topology.spec;
  spec.witness = node(3);
  spec.routes = {{.name = "message", .subjects = {"message.*"}, .max_age_s = 604'800, .service = "gateway"},
                 {.name = "node_local", .subjects = {"node.{node_id}.local.*"}, .cls = RouteClass::kNodeLocal},
                 {.name = "cache", .subjects = {"cache.invalidate.*"}, .cls = RouteClass::kEdgeLocal}};
  add(TopologyChanged{spec, "hash"}, node(1));
  add(RouteTableChanged{plan_routes(spec).table}, node(1));
}

void FakeCluster::serve() {
  route();
  const TopologySpec with = spec_with_services();
  TopologySpec spec = core_->state().topology.spec;
  spec.services = with.services;
  spec.capabilities = with.capabilities;
  spec.routes.push_back({.name = "pictures", .subjects = {"pictures.*"}, .cls = RouteClass::kEdgeLocal, .service = "router", .capability = "vision"});
  add(TopologyChanged{spec, "hash"}, node(1));
  add(RouteTableChanged{plan_routes(spec).table}, node(1));
  const ResourceId router("router");
  add(ServiceHealthChanged{.health = Health::kHealthy}, node(2), router);
  add(ServiceHealthChanged{.health = Health::kBroken, .cause = "no answer within 1000 ms"}, node(1), router);
  add(ServiceHealthChanged{.health = Health::kBroken, .cause = "exit code 9"}, node(1), ResourceId(kGpu));
  add(ServiceMoved{{node(2)}, service_evidence(core_->state(), spec.services[0])}, node(3), router);
  add(ServiceHealthChanged{.health = Health::kUnknown, .check_broken = true, .cause = "404: there is no /health to GET"}, node(2), ResourceId("memory"));
  for (const auto& [name, provider] : {std::pair("vision", "api:mistral"), std::pair("image", "")})
    add(CapabilityMoved{name, provider, providers_of(core_->state(), spec.capabilities.at(name))}, node(3));
}

Sequence FakeCluster::add(Payload payload, const NodeId& by, const ResourceId& resource, Epoch epoch, const std::string& reason, const EventId& cause) {
  const std::lock_guard lock(mutex_);
  LogEvent event = log_.make(std::move(payload), by, resource, epoch);
  event.event.header.reason = reason;
  event.event.header.cause = cause;
  return store(event);
}

void FakeCluster::settle() {
  add(LogCreated{log_id(), "test", {}}, node(1));
  add(TopologyChanged{core_->spec(), "hash"}, node(1));
  add(voters_of(3), node(1));
  for (int n = 1; n <= 3; ++n)
    add(MemberJoined{n == 1 ? NodeRole::kPrimary : NodeRole::kReplica, "region", "host" + std::to_string(n), "daariond 0.1.0", instance(n), boot(static_cast<std::uint64_t>(n)), 1}, node(n));
  add(PromotionDecided{.to = node(1), .session = session(1), .kind = DecisionKind::kBootstrap}, node(1), kPostgres, Epoch{1}, "node1 is declared primary and the log is empty");
  add(PromotionCompleted{.session = session(1), .position = {1, Lsn{100}, "db"}, .claimed_ms = 12, .promoted_ms = 80}, node(1), kPostgres, Epoch{1}, "the engine is open for writing");
  beats(true, true);
}

void FakeCluster::fail_over() {
  const std::lock_guard lock(mutex_);
  pass(seconds(3));
  beats(false, true);
  Evidence e;
  e.resource = kPostgres;
  e.decider = node(2);
  e.software = "daariond 0.1.0";
  e.folded = log_.state.applied;
  e.log_epoch = {1};
  e.last_holder = node(1);
  e.last_position = {1, Lsn{1000}, "db"};
  e.last_position_age_ms = 2100;
  e.write_rate = 2000;
  e.voters = 3;
  e.votes = {{node(2), {1}, 40, 0}, {node(3), {1}, 35, 5}};
  e.unreachable_ms = 2000;
  e.max_promotions = 3;
  e.declared_primary = node(1);
  CandidateEvidence dead{.node = node(1), .beat_age_ms = 2100, .heard = true, .session = session(8), .engine = standby_at(1000), .lag_ms = 0};
  dead.engine.state = EngineState::kPrimary;
  CandidateEvidence best{.node = node(2), .beat_age_ms = 10, .heard = true, .session = session(2), .engine = standby_at(900), .lag_ms = 15};
  e.candidates = {dead, best};
  const Decision d = decide(e);
  DAARION_CHECK(d.to == node(2), "node2 is the one candidate");
  add(MemberUnreachable{2100, {node(2), node(3)}}, node(1), {}, {}, "node1 is silent");
  add(PromotionDecided{.to = *d.to, .session = d.session, .kind = e.kind, .loss_bytes = d.loss_bytes, .evidence = e, .verdicts = d.verdicts}, node(2), kPostgres, d.epoch, d.reason);
  holder_ = 2;
  add(PromotionCompleted{.session = session(2), .position = {2, Lsn{900}, "db"}, .claimed_ms = 33, .promoted_ms = 120}, node(2), kPostgres, d.epoch, "the engine is open for writing");
  beats(false, true);
}

void FakeCluster::beats(bool node1, bool node2) {
  const std::lock_guard lock(mutex_);
  const LeaseState* lease = log_.state.lease(kPostgres);
  for (const int n : {1, 2}) {
    if (n == 1 ? !node1 : !node2) continue;
    Beat beat = beat_of(n, ++counter_, log_.state);
    EngineReport engine = standby_at(n == holder_ ? 1000 : 1000 - node2_lag);
    engine.upstream = node(holder_);
    engine.streaming = n != holder_ && (n != 2 || node2_streams);
    engine.health = n == 1 ? node1_health : node2_health;
    if (n == 2) engine.lacks = node2_lacks, engine.problems = node2_problems;
    if (n == holder_) {
      engine.state = EngineState::kPrimary;
      if (lease && lease->has_holder()) beat.claims = {claim_of(lease->completed.epoch.value, lease->completed.session)};
    } else {
      beat.next = {{kPostgres, session(static_cast<std::uint64_t>(10 + n))}};
    }
    if (n == 2) beat.waits = node2_waits, beat.topology_hash = node2_file;
    if (n == 2 && node2_bound) {
      beat.promises = {{kPostgres, node(1), session(1), instance(1), true}};
      beat.suspects = {node(1)};
    }
    if (n == holder_) {  // looked at twice, so that its rate is known
      beat.engines = {engine};
      beat.engines.front().age_ms = 2000;
      core_->step(BeatHeard{beat}, now_);
      beat.counter = ++counter_;
    }
    beat.engines = {engine};
    core_->step(BeatHeard{beat}, now_);
  }
  look();
}

void FakeCluster::pass(Duration time) {
  const std::lock_guard lock(mutex_);
  now_ += time;
  look();
}

std::shared_ptr<const StatusView> FakeCluster::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

std::vector<StoredMessage> FakeCluster::log() const {
  const std::lock_guard lock(mutex_);
  return messages_;
}

AdminPorts FakeCluster::ports() {
  AdminPorts out;
  out.view = [this] { return view(); };
  out.operations = std::make_shared<Operator>(Operator::Ports{.self = node(3), .spec = core_->spec(), .view = out.view, .appender = std::make_shared<FakeAppender>(*this),
                                                              .wall_ns = [] { return kDayOne; }, .new_id = [this](std::int64_t) {
                                                                const std::lock_guard lock(mutex_);
                                                                return EventId{0xF, ++ids_};
                                                              }});
  out.reader = [this](Sequence from) -> Result<std::unique_ptr<LogReader>> { return std::make_unique<FakeReader>(*this, from); };
  out.aliases = {{"noda1", node(1)}};
  return out;
}

}  // namespace daarion::test
