#include "tests/sim/world.h"

#include <algorithm>
#include <cstdio>

#include "tests/sim/faults.h"

namespace daarion::sim {
namespace {
using std::chrono::milliseconds;
using std::chrono::microseconds;
using std::chrono::seconds;

constexpr Duration kLiveness = seconds(30);
constexpr std::size_t kMaxBacklog = 4096;


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

}  // namespace daarion::sim
