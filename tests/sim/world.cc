#include "tests/sim/world.h"

#include <algorithm>
#include <cstdio>

#include "controlplane/core/fold.h"
#include "tests/sim/faults.h"

namespace daarion::sim {
namespace {
using std::chrono::milliseconds;
using std::chrono::microseconds;
using std::chrono::seconds;

constexpr Duration kEngineTick = milliseconds(20);
constexpr Duration kPollLog = milliseconds(400);
constexpr Duration kLiveness = seconds(30);
constexpr std::size_t kMaxBacklog = 4096;
constexpr std::int64_t kLogEpochNs = 1'700'000'000'000'000'000;  // JetStream's clock at world time 0


}  // namespace

Knobs deal(std::uint64_t seed) {
  Random r(seed * 0x9E3779B97F4A7C15ULL + 1);
  Knobs k;
  k.nodes = r.chance(0.7) ? 3 : 5;
  k.voters = k.nodes == 5 && r.chance(0.5) ? 5 : 3;
  k.safety = r.between(seconds(30), seconds(50));
  k.faults = static_cast<int>(r.between(3, 14));
  if (r.chance(0.3)) {
    k.timers.ttl = r.between(milliseconds(1000), milliseconds(4000));
    k.timers.beat = k.timers.ttl / 8;
    k.timers.fence_budget = k.timers.ttl / 4;
  }
  // Tight margins: what the fence budget would hide otherwise has to come to light.
  k.tight = r.chance(0.5);
  if (k.tight) k.timers.fence_budget = k.timers.ttl / 25;
  k.loss = r.chance(0.5) ? 0 : 0.01 * static_cast<double>(r.between(1, 10));
  k.duplicate = r.chance(0.5) ? 0 : 0.05;
  k.slow = r.chance(0.4) ? 0 : r.chance(0.5) ? 0.02 : 0.3;
  k.slow_by = r.chance(0.5) ? r.between(milliseconds(10), milliseconds(800)) : k.timers.ttl;
  k.append_unknown = r.chance(0.5) ? 0 : 0.1;
  k.tail_gap = r.chance(0.5) ? 0 : 0.2;
  k.log_faults_only = r.chance(0.1);
  k.nominations = r.chance(0.2) ? 0.3 : 0;
  k.second_host = !k.log_faults_only && r.chance(0.1);
  if (k.log_faults_only) k.loss = 0, k.slow = 0, k.nominations = 0;
  return k;
}

World::World(std::uint64_t seed, Knobs knobs, bool trace) : knobs_(knobs), random_(seed), trace_(trace), checker_(*this) {
  spec_.cluster = "sim";
  spec_.lease = knobs_.timers;
  spec_.max_promotions = 0;  // the bound would hide faults behind a wait
  ResourceSpec postgres;
  postgres.id = resource_;
  postgres.engine = "stub";
  postgres.leased = true;
  for (int i = 0; i < knobs_.nodes; ++i) {
    auto host = std::make_unique<Host>();
    host->id = NodeId("node" + std::to_string(i + 1));
    host->index = i;
    host->place = static_cast<std::size_t>(i);
    set_clock(*host);
    host->boot = random_.id<BootTag>();
    host->booted = now_ - host->offset / 2;
    spec_.nodes.push_back({host->id, "host" + std::to_string(i + 1), "region", i == 0 ? NodeRole::kPrimary : NodeRole::kReplica});
    if (i < knobs_.voters) spec_.voters.push_back(host->id);
    if (i != 2 || knobs_.nodes > 3) postgres.members.push_back(host->id);
    hosts_.push_back(std::move(host));
  }
  postgres.declared_primary = spec_.nodes[0].id;
  spec_.resources.push_back(postgres);
}

World::~World() = default;

void World::set_clock(Host& host) {
  host.rate = 1.0 + static_cast<double>(random_.between(-4900, 4900)) * 1e-6;
  host.offset = random_.between(seconds(100), seconds(100'000));
}

Host& World::second_host(Host& old) {
  auto host = std::make_unique<Host>();
  host->id = old.id;
  host->index = static_cast<int>(hosts_.size());
  host->place = old.place;
  set_clock(*host);
  host->boot = random_.id<BootTag>();
  host->booted = now_;
  note(old.id.value + " a second host with its id");
  counters_.add("second hosts");
  hosts_.push_back(std::move(host));
  start_host(*hosts_.back());
  return *hosts_.back();
}

Host* World::host_of(const NodeId& id, const Host& asking) {
  Host* found = nullptr;
  for (auto& other : hosts_)
    if (other->id == id && other.get() != &asking && !other->gone && (found == nullptr || other->engine.writable())) found = other.get();
  return found;
}

void World::after(Duration d, std::function<void()> what) { queue_.push({now_ + d, order_++, std::move(what)}); }

void World::note(const std::string& what) {
  for (const char c : what) trace_hash_ = (trace_hash_ ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  trace_hash_ = (trace_hash_ ^ static_cast<std::uint64_t>(now_.time_since_epoch().count())) * 1099511628211ULL;
  if (listener_) listener_(what);
  if (trace_) std::printf("%9.3f %s\n", static_cast<double>(now_.time_since_epoch().count()) * 1e-6, what.c_str());
}

void World::boot() {
  for (auto& host : hosts_) {
    Host* h = host.get();
    after(random_.between(milliseconds(0), milliseconds(500)), [this, h] { start_host(*h); });
  }
  after(kEngineTick, [this] { tick_engines(); });
}

void World::run_until(Instant end) {
  while (!queue_.empty() && queue_.top().at <= end && !checker_.broken()) {
    auto next = std::move(const_cast<Scheduled&>(queue_.top()));
    queue_.pop();
    now_ = next.at;
    next.what();
  }
  if (!checker_.broken()) now_ = end;
}

std::string World::run() {
  boot();
  schedule_faults(*this, now_ + seconds(3), now_ + knobs_.safety);
  const Instant safe_end = now_ + knobs_.safety;
  run_until(safe_end);
  if (checker_.broken()) return checker_.failure();
  checker_.healed();
  heal();
  run_until(safe_end + kLiveness);
  if (!checker_.broken()) checker_.finish();
  return checker_.failure();
}

// ---- time

Instant World::local(const Host& host) const {
  return Instant(host.offset + Duration(static_cast<std::int64_t>(static_cast<double>(now_.time_since_epoch().count()) * host.rate)));
}

Duration World::to_world(const Host& host, Instant local_time) const {
  if (local_time == kNever) return seconds(3600);
  const Duration d = local_time - local(host);
  return std::max(Duration(0), Duration(static_cast<std::int64_t>(static_cast<double>(d.count()) / host.rate) + 1));
}

// ---- hosts and daemons

void World::start_host(Host& host) {
  if (host.gone) return;
  if (!host.up) note(host.id.value + " host up");
  host.up = true;
  start_daemon(host);
}

void World::start_daemon(Host& host) {
  if (host.daemon_up || !host.up || host.gone) return;
  host.daemon_up = true;
  ++host.life;
  host.paused_until = {};
  host.backlog.clear();
  NodeConfig config;
  config.spec = spec_;
  if (!host.record) host.record = VoterRecord{.instance = random_.id<InstanceTag>()};
  config.record = *host.record;
  const NodeSpec& spec = spec_.nodes[host.place];
  config.identity = {.self = host.id, .run = random_.id<RunTag>(), .boot = host.boot, .instance = host.record->instance,
                     .role = spec.role, .address = spec.address, .region = spec.region, .software = "sim",
                     .fresh_log = random_.id<LogIdTag>(), .topology_hash = "sim"};
  config.uptime = now_ - host.booted;
  note(host.id.value + " daemon up");
  host.core = std::make_unique<NodeCore>(config, local(host));
  host.state = std::make_shared<State>();
  // The fold's own store survives a restart up to its last flush; what it lacks is folded again.
  const std::uint64_t life = host.life;
  Host* h = &host;
  start_guard(host);
  after(random_.between(milliseconds(1), milliseconds(50)), [this, h, life] {
    if (h->life == life && h->daemon_up) poll_log(*h);
  });
  give(host, TimerFired{});
  guard_report(host);
}

void World::kill_daemon(Host& host) {
  if (!host.daemon_up) return;
  note(host.id.value + " daemon killed");
  host.daemon_up = false;
  ++host.life;
  host.core.reset();
  host.state.reset();
  host.backlog.clear();
}

void World::kill_host(Host& host, bool reboot, bool restore_record) {
  if (!host.up) return;
  note(host.id.value + (reboot ? " host lost" : " all processes killed") + (restore_record ? ", record from a backup" : ""));
  kill_daemon(host);
  host.guard.alive = false;
  ++host.guard.generation;
  host.guard.taken.reset();
  host.guard.fencing = false;
  stop_engine_process(host);
  if (!reboot) return;
  host.up = false;
  host.boot = random_.id<BootTag>();
  if (restore_record && host.old_record) host.record = host.old_record;
}

void World::pause_daemon(Host& host, Duration length) {
  if (!host.daemon_up) return;
  note(host.id.value + " daemon stopped for " + std::to_string(to_ms(length)) + " ms");
  host.paused_until = now_ + length;
  Host* h = &host;
  const std::uint64_t life = host.life;
  after(length, [this, h, life] {
    if (h->life != life || now_ < h->paused_until) return;
    h->paused_until = {};
    std::vector<Input> waiting = std::exchange(h->backlog, {});
    for (const Input& input : waiting) {
      if (h->life != life) return;
      give(*h, input);
    }
    give(*h, TimerFired{});
  });
}

void World::give(Host& host, const Input& input) {
  if (!host.daemon_up || checker_.broken()) return;
  if (now_ < host.paused_until) {
    if (host.backlog.size() < kMaxBacklog) host.backlog.push_back(input);
    return;
  }
  std::vector<Output> outputs = host.core->step(input, local(host));
  perform(host, std::move(outputs));
  set_timer(host);
}

void World::set_timer(Host& host) {
  const Instant at = now_ + to_world(host, host.core->next_timer());
  if (host.timer > now_ && host.timer <= at) return;
  host.timer = at;
  Host* h = &host;
  const std::uint64_t life = host.life;
  after(at - now_, [this, h, life, at] {
    if (h->life != life || h->timer != at) return;
    h->timer = {};
    give(*h, TimerFired{});
  });
}

void World::perform(Host& host, std::vector<Output> outputs) {
  Host* h = &host;
  const std::uint64_t life = host.life;
  for (Output& output : outputs) {
    if (auto* write = std::get_if<WriteRecord>(&output)) {
      after(random_.between(microseconds(200), milliseconds(8)), [this, h, life, record = write->record, generation = write->generation] {
        if (h->life != life) return;
        if (!h->record->boot.empty() && (!h->old_record || random_.chance(0.1))) h->old_record = h->record;
        h->record = record;
        give(*h, RecordWritten{generation});
      });
    } else if (auto* beat = std::get_if<SendBeat>(&output)) {
      for (auto& other : hosts_)
        if (other.get() != &host) send(host, other->index, BeatHeard{beat->beat});
    } else if (auto* ack = std::get_if<SendAck>(&output)) {
      for (auto& other : hosts_)
        if (other->id == ack->ack.holder) send(host, other->index, AckHeard{ack->ack});
    } else if (auto* vote = std::get_if<SendVote>(&output)) {
      for (auto& other : hosts_)
        if (other.get() != &host) send(host, other->index, VoteHeard{vote->vote});
    } else if (auto* guard = std::get_if<Guard>(&output)) {
      after(random_.between(microseconds(50), microseconds(500)), [this, h, command = guard->command] { guard_command(*h, command); });
    } else if (auto* drive_it = std::get_if<Drive>(&output)) {
      drive(host, drive_it->command);
    } else if (auto* append = std::get_if<Append>(&output)) {
      on_append(host, append->request);
    } else if (std::holds_alternative<StepDown>(output)) {
      counters_.add("step-down");
    }
  }
}

// ---- network

bool World::reaches(int from, int to) const {
  return nats_up_ && !cut_[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
}

void World::send(Host& from, int to, Input input) {
  if (!reaches(from.index, to) || random_.chance(knobs_.loss)) return;
  Host* target = hosts_[static_cast<std::size_t>(to)].get();
  const int copies = random_.chance(knobs_.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    const Duration delay = random_.chance(knobs_.slow) ? random_.between(milliseconds(0), knobs_.slow_by)
                                                       : random_.between(microseconds(100), milliseconds(2));
    after(delay, [this, target, input] {
      if (target->up) give(*target, input);
    });
  }
}

/// Of two hosts with one id an operator takes one away for good: not one that wrote last, whose data nobody else may have, and none
/// after a pause, for then only the host itself can say that its session is over.
void World::take_one_away() {
  const auto second = std::ranges::find_if(hosts_, [](const auto& h) { return h->index != static_cast<int>(h->place); });
  const LeaseState* lease = reference_.lease(resource_);
  if (second == hosts_.end() || lease == nullptr || reference_.newest_paused(resource_).value != 0) return;
  Host* one = second->get();
  Host* other = hosts_[one->place].get();
  if (random_.chance(0.5)) std::swap(one, other);
  for (Host* leaves : {one, other}) {
    if (leaves->engine.writable() || leaves->record->instance == lease->completed.instance) continue;
    kill_host(*leaves, true, false);
    leaves->gone = true;
    counters_.add("taken away");
    return;
  }
}

void World::heal() {
  note("healed");
  for (auto& row : cut_) row.fill(false);
  nats_up_ = true;
  knobs_.loss = knobs_.duplicate = knobs_.slow = knobs_.append_unknown = knobs_.tail_gap = knobs_.nominations = 0;
  take_one_away();
  for (auto& host : hosts_) {
    if (host->gone) continue;
    if (!host->up) {
      host->booted = now_;
      start_host(*host);
    } else if (!host->daemon_up) {
      start_daemon(*host);
    } else if (!host->guard.alive) {
      start_guard(*host);
      guard_report(*host);
    }
  }
  // What an operator does after all faults: automatic failover on again. Ends of lost sessions are the nodes' own to say.
  if (reference_.paused(resource_)) append_by_hand(Resumed{}, {}, {}, "operator:sim", NodeId("node1"));
}

// ---- the log

void World::lose_log_leader(Duration length) {
  note("log without a leader for " + std::to_string(to_ms(length)) + " ms");
  counters_.add("elections");
  log_back_ = std::max(log_back_, now_ + length);
}

/// A node reaches the log through a majority of voters' hosts that are up.
bool World::reaches_log(const Host& host) const {
  if (!nats_up_ || now_ < log_back_) return false;
  int reached = 0;
  for (int v = 0; v < knobs_.voters; ++v) {
    const Host& voter = *hosts_[static_cast<std::size_t>(v)];
    const auto a = static_cast<std::size_t>(host.index), b = static_cast<std::size_t>(v);
    if (voter.up && (v == host.index || (!cut_[a][b] && !cut_[b][a]))) ++reached;
  }
  return reached >= knobs_.voters / 2 + 1;
}

AppendResult World::store(const NodeId& node, const AppendRequest& request) {
  AppendResult result{.id = request.id};
  if (!stored_.insert({request.aggregate, request.version}).second) {
    counters_.add("append conflicts");
    result.outcome = AppendResult::Outcome::kConflict;
    return result;
  }
  LogEvent event;
  event.sequence = Sequence{log_.size() + 1};
  event.stored_ns = kLogEpochNs + now_.time_since_epoch().count();
  event.event.header = {.id = random_.id<EventIdTag>(), .schema = 1, .node = node, .actor = request.actor, .reason = request.reason,
                        .cause = request.cause, .resource = request.resource, .epoch = request.epoch, .wall_time_ns = event.stored_ns,
                        .min_feature = 1, .aggregate = request.aggregate, .version = request.version};
  event.event.payload = request.payload;
  log_.push_back(event);
  std::vector<StateKey> touched;
  fold_into(reference_, event, touched);
  note("stored " + std::to_string(event.sequence.value) + " " + payload_name(request.payload) + " " + request.aggregate.name + " e" +
       std::to_string(request.epoch.value) + " by " + node.value + ": " + request.reason);
  checker_.stored(event);
  tell_tail(event);
  result.outcome = AppendResult::Outcome::kStored;
  result.sequence = event.sequence;
  return result;
}

void World::append_by_hand(Payload payload, const ResourceId& resource, Epoch epoch, const std::string& actor, const NodeId& node) {
  AppendRequest request;
  request.aggregate = aggregate_of(payload, node, resource);
  request.version = Version{reference_.version_of(request.aggregate).value + 1};
  request.payload = std::move(payload);
  request.resource = resource;
  request.epoch = epoch;
  request.actor = actor;
  request.reason = "said by hand";
  store(node, request);
}

void World::on_append(Host& host, const AppendRequest& request) {
  Host* h = &host;
  const std::uint64_t life = host.life;
  const auto answer = [this, h, life](AppendResult result, Duration in) {
    after(in, [this, h, life, result] {
      if (h->life == life) give(*h, AppendDone{result});
    });
  };
  const AppendResult unknown{.id = request.id, .outcome = AppendResult::Outcome::kUnknown, .sequence = {}};
  after(random_.between(microseconds(300), milliseconds(4)), [this, h, request, answer, unknown] {
    if (!h->up || !reaches_log(*h)) {
      // Nobody answers; now and then the request lies in a buffer and is stored long after its publisher gave up.
      if (random_.chance(0.2))
        after(random_.between(milliseconds(500), seconds(6)), [this, h, request] {
          if (nats_up_ && now_ >= log_back_) {
            counters_.add("late commits");
            store(h->id, request);
          }
        });
      return answer(unknown, milliseconds(1500));
    }
    const AppendResult result = store(h->id, request);
    if (random_.chance(knobs_.append_unknown)) {
      counters_.add("lost answers");
      return answer(unknown, milliseconds(1500));
    }
    answer(result, random_.between(microseconds(200), milliseconds(2)));
  });
}

void World::tell_tail(const LogEvent& event) {
  const std::size_t count = event.sequence.value;
  for (auto& host : hosts_) {
    if (random_.chance(knobs_.tail_gap)) {
      counters_.add("tail gaps");
      continue;
    }
    Host* h = host.get();
    after(random_.between(microseconds(100), milliseconds(3)), [this, h, count] {
      if (h->up && reaches_log(*h)) fold_up_to(*h, count);
    });
  }
}

void World::poll_log(Host& host) {
  Host* h = &host;
  const std::uint64_t life = host.life;
  if (reaches_log(host)) {
    const LogHead head{.exists = true, .head = Sequence{log_.size()}};
    give(host, head);
    // A read may be stale: a prefix of the log, never another log.
    const std::size_t count = random_.chance(0.1) && !log_.empty() ? static_cast<std::size_t>(random_.between(0, static_cast<std::int64_t>(log_.size()))) : log_.size();
    fold_up_to(host, count);
  }
  after(kPollLog, [this, h, life] {
    if (h->life == life) poll_log(*h);
  });
}

void World::fold_up_to(Host& host, std::size_t count) {
  if (!host.daemon_up || now_ < host.paused_until) return;
  if (host.state->applied.value >= count) return;
  auto state = std::make_shared<State>(*host.state);
  std::vector<StateKey> touched;
  while (state->applied.value < count) fold_into(*state, log_[state->applied.value], touched);
  host.state = state;
  give(host, StateMoved{state, {state->applied, {}, "sim"}});
}

// ---- the guard

void World::start_guard(Host& host) {
  if (host.guard.alive || !host.up) return;
  // Whoever starts a guard first makes sure that nothing of an earlier one is left.
  stop_engine_process(host);
  host.guard.alive = true;
  ++host.guard.generation;
  host.guard.next = random_.id<SessionTag>();
  host.guard.taken.reset();
  host.guard.ended.clear();
  host.guard.fencing = false;
}

void World::guard_report(Host& host) {
  const GuardSim& g = host.guard;
  GuardReport report{.resource = resource_, .connected = g.alive, .next = g.next, .taken = g.taken, .ended = g.ended,
                     .incarnation = g.incarnation, .engine_running = host.engine.running, .fencing = g.fencing};
  Host* h = &host;
  const std::uint64_t life = host.life;
  after(random_.between(microseconds(50), microseconds(300)), [this, h, life, report] {
    if (h->life == life) give(*h, GuardChanged{report});
  });
}

void World::kill_guard(Host& host) {
  if (!host.guard.alive) return;
  note(host.id.value + " a guard killed");
  // The other one of the pair sees it and leaves no process; then the daemon, if there is one, starts a new pair.
  host.guard.fencing = true;
  host.guard.alive = false;
  const std::uint64_t generation = ++host.guard.generation;
  Host* h = &host;
  guard_report(host);
  after(random_.between(milliseconds(2), milliseconds(40)), [this, h, generation] {
    if (h->guard.generation != generation) return;
    stop_engine_process(*h);
    if (!h->daemon_up) return;
    start_guard(*h);
    guard_report(*h);
  });
}

void World::watch_deadline(Host& host) {
  if (!host.guard.taken || host.guard.taken->deadline == kNever) return;
  Host* h = &host;
  const std::uint64_t generation = host.guard.generation;
  after(to_world(host, host.guard.taken->deadline), [this, h, generation] {
    if (h->guard.generation != generation || !h->guard.taken || h->guard.fencing) return;
    if (local(*h) < h->guard.taken->deadline) return;  // it was moved; another watch is set
    counters_.add("fences");
    fence(*h, EndCause::kFenced);
  });
}

void World::guard_command(Host& host, const GuardCommand& command) {
  GuardSim& g = host.guard;
  if (!host.up || !g.alive || g.fencing) return;
  switch (command.kind) {
    case GuardCommand::Kind::kArm:
      if (command.deadline <= local(host)) return;
      if (g.taken && g.taken->session == command.session) {
        g.taken->deadline = command.deadline;
        g.taken->epoch = command.epoch;
      } else if (!g.taken && g.next == command.session) {
        g.taken = TakenSession{command.session, command.epoch, command.deadline};
        g.next = random_.id<SessionTag>();
      } else {
        return;
      }
      // A writing session that raised its epoch goes on as a writer of that epoch.
      if (host.engine.writable() && host.engine.session == command.session && host.engine.epoch < command.epoch) {
        host.engine.epoch = command.epoch;
        checker_.opened(host);
      }
      watch_deadline(host);
      return guard_report(host);
    case GuardCommand::Kind::kRetire:
      if (g.taken && g.taken->session == command.session) {
        if (host.engine.running) return fence(host, EndCause::kFenced);
        return end_session(host, EndCause::kReleased);
      }
      if (g.next == command.session) {
        g.ended.push_back({g.next, EndCause::kReleased});
        g.next = random_.id<SessionTag>();
        return guard_report(host);
      }
      return;
    case GuardCommand::Kind::kFence:
      if (!g.taken) stop_engine_process(host);
      return guard_report(host);
  }
}

void World::fence(Host& host, EndCause cause) {
  host.guard.fencing = true;
  note(host.id.value + " fencing");
  Host* h = &host;
  const std::uint64_t generation = host.guard.generation;
  const Duration budget = knobs_.timers.fence_budget;
  after(random_.chance(knobs_.tight ? 0.3 : 0.8) ? random_.between(milliseconds(1), std::min<Duration>(milliseconds(40), budget * 9 / 10))
                                                  : random_.between(budget / 2, budget * 9 / 10),
        [this, h, generation, cause] {
          if (h->guard.generation != generation) return;
          stop_engine_process(*h);
          end_session(*h, cause);
        });
  guard_report(host);
}

void World::end_session(Host& host, EndCause cause) {
  GuardSim& g = host.guard;
  g.fencing = false;
  if (g.taken) g.ended.push_back({g.taken->session, cause});
  if (g.ended.size() > 8) g.ended.erase(g.ended.begin());
  g.taken.reset();
  guard_report(host);
}

void World::crash_engine(Host& host) {
  if (!host.engine.running || !host.guard.alive || host.guard.fencing) return;
  note(host.id.value + " engine crashed");
  if (host.guard.taken) {
    fence(host, EndCause::kCrashed);
  } else {
    stop_engine_process(host);
    guard_report(host);
  }
}

void World::stop_engine_process(Host& host) {
  Engine& e = host.engine;
  if (e.running) note(host.id.value + " engine gone" + (e.primary ? ", was primary" : ""));
  if (e.writable()) e.data.was_primary = true;
  e.running = e.primary = e.streaming = false;
  ++host.engine_life;
}

// ---- engines and drivers

bool World::follows_history(const Engine& standby, const Engine& primary) const {
  const Position& p = standby.data.position;
  if (p.identity != primary.data.position.identity) return false;
  if (p.timeline == primary.data.position.timeline) return p.lsn <= primary.data.position.lsn;
  for (const TimelineStart& t : primary.data.history)
    if (t.timeline > p.timeline) return p.lsn <= t.lsn;
  return false;
}

EngineReport World::report_of(Host& host) const {
  const Engine& e = host.engine;
  EngineReport r;
  r.resource = resource_;
  r.incarnation = host.guard.incarnation;
  r.state = e.running ? (e.primary ? EngineState::kPrimary : EngineState::kStandby)
                      : (e.data.exists ? EngineState::kStopped : EngineState::kEmpty);
  r.position = e.data.position;
  r.timeline_start = e.data.history.empty() ? Lsn{} : e.data.history.back().lsn;
  r.opened = e.data.opened;
  r.upstream = e.upstream;
  r.streaming = e.streaming;
  r.diverged = e.diverged || (!e.running && e.data.was_primary);
  r.contact_age_ms = static_cast<std::uint64_t>(to_ms(now_ - e.contact));
  return r;
}

void World::observe(Host& host) {
  Host* h = &host;
  const std::uint64_t life = host.life;
  after(random_.between(microseconds(500), milliseconds(5)), [this, h, life] {
    if (h->life != life || !h->daemon_up) return;
    EngineReport report = report_of(*h);
    give(*h, EngineObserved{report});
  });
}

void World::drive(Host& host, const DriverCommand& command) {
  if (command.verb == Verb::kObserve) return observe(host);
  Duration takes = random_.between(milliseconds(10), milliseconds(80));
  if (command.verb == Verb::kProvision || command.verb == Verb::kRejoin) takes = random_.between(milliseconds(100), milliseconds(1500));
  if (command.verb == Verb::kStart || command.verb == Verb::kFollow) takes = random_.between(milliseconds(20), milliseconds(250));
  note(host.id.value + " drives verb " + std::to_string(static_cast<int>(command.verb)) + " e" + std::to_string(command.epoch.value));
  Host* h = &host;
  // A command that was given goes on when its daemon dies, but not on another run of the engine.
  const std::uint64_t engine_life = host.engine_life;
  after(takes, [this, h, command, engine_life] { finish(*h, command, engine_life); });
}

void World::finish(Host& host, const DriverCommand& command, std::uint64_t engine_life) {
  Engine& e = host.engine;
  DriverResult result{.op = command.op, .resource = command.resource, .verb = command.verb, .ok = true};
  const auto failed = [&](const char* why) {
    result.ok = false;
    result.message = why;
  };
  Host* up = host_of(command.upstream, host);
  const bool reachable = up && up->up && up->engine.writable() && !cut_[static_cast<std::size_t>(host.index)][static_cast<std::size_t>(up->index)];
  if (!host.up) return;
  if (!host.guard.alive || host.guard.fencing || host.engine_life != engine_life) {
    failed("the engine ended meanwhile");
  } else if (random_.chance(0.01)) {
    failed("chance");
  } else {
    switch (command.verb) {
      case Verb::kObserve: break;
      case Verb::kProvision:
        if (command.upstream.empty()) {
          e.data = {.exists = true, .position = {1, Lsn{1000}, "id-" + std::to_string(random_.between(1, 1'000'000'000))}, .history = {}};
        } else if (reachable) {
          e.data = up->engine.data;
          e.data.opened = {};
          e.data.was_primary = false;
          e.upstream = up->id;
        } else {
          failed("the upstream does not answer");
        }
        e.diverged = false;
        break;
      case Verb::kStart:
        if (!e.data.exists) failed("no data");
        else e.running = true, ++host.engine_life, ++host.guard.incarnation;
        break;
      case Verb::kFollow:
        e.upstream = command.upstream;
        if (!e.data.exists) failed("no data");
        else if (reachable && !follows_history(e, up->engine)) result.diverged = true, failed("diverged");
        else if (!e.running) e.running = true, ++host.engine_life, ++host.guard.incarnation;
        break;
      case Verb::kRejoin:
        if (!reachable) {
          failed("the upstream does not answer");
        } else {
          if (e.running) stop_engine_process(host);
          e.data = up->engine.data;
          e.data.opened = {};
          e.data.was_primary = false;
          e.diverged = false;
          e.upstream = up->id;
          result.method = "rewind";
          result.position = e.data.position;
          counters_.add("rejoined");
        }
        break;
      case Verb::kPromote:
        if (!e.running || e.primary) {
          failed("not a standby");
        } else if (!host.guard.taken) {
          failed("no session");
        } else {
          e.primary = true;
          e.upstream = {};
          e.epoch = command.epoch;
          e.session = host.guard.taken->session;
          ++e.data.position.timeline;
          e.data.history.push_back({e.data.position.timeline, e.data.position.lsn});
          e.data.was_primary = false;
          e.data.opened = e.session;
          result.position = e.data.position;
          note(host.id.value + " writable e" + std::to_string(command.epoch.value));
          checker_.opened(host);
        }
        break;
      case Verb::kStop: {
        const bool primary = e.writable();
        // A clean stop sends everything to whoever streams and can be reached.
        if (primary)
          for (auto& other : hosts_) {
            Engine& s = other->engine;
            if (s.running && !s.primary && s.streaming && s.upstream == host.id && !cut_[static_cast<std::size_t>(host.index)][static_cast<std::size_t>(other->index)] &&
                !cut_[static_cast<std::size_t>(other->index)][static_cast<std::size_t>(host.index)] && other->up)
              s.data.position = e.data.position;
          }
        stop_engine_process(host);
        e.data.was_primary = false;
        result.position = e.data.position;
        if (primary) counters_.add("clean stops");
        break;
      }
    }
  }
  guard_report(host);
  Host* h = &host;
  const std::uint64_t life = host.life;
  after(microseconds(400), [this, h, life, result] {
    if (h->life == life) give(*h, DriverDone{result});
  });
}

void World::tick_engines() {
  for (auto& host : hosts_) {
    Engine& e = host->engine;
    if (!e.writable()) continue;
    e.data.position.lsn.value += static_cast<std::uint64_t>(random_.between(0, 4000));
    checker_.writes(*host);
  }
  for (auto& host : hosts_) {
    Engine& s = host->engine;
    if (!s.running || s.primary || s.upstream.empty()) continue;
    Host* up = host_of(s.upstream, *host);
    s.streaming = false;
    if (up == nullptr || !up->up || !up->engine.writable() || cut_[static_cast<std::size_t>(host->index)][static_cast<std::size_t>(up->index)] ||
        cut_[static_cast<std::size_t>(up->index)][static_cast<std::size_t>(host->index)])
      continue;
    if (!follows_history(s, up->engine)) {
      s.diverged = true;
      continue;
    }
    s.streaming = true;
    s.contact = now_;
    // Not everything arrives at once.
    const std::uint64_t to = up->engine.data.position.lsn.value - static_cast<std::uint64_t>(random_.chance(0.3) ? random_.between(0, 2000) : 0);
    s.data.history = up->engine.data.history;
    s.data.position.timeline = up->engine.data.position.timeline;
    s.data.position.lsn.value = std::max(s.data.position.lsn.value, to);
    const TimelineStart* start = s.data.history.empty() ? nullptr : &s.data.history.back();
    if (start != nullptr && s.data.position.lsn < start->lsn) s.data.position.lsn = start->lsn;
  }
  after(kEngineTick, [this] { tick_engines(); });
}

}  // namespace daarion::sim
