#include "tests/sim/world.h"

#include <algorithm>
#include <cstdio>

#include "controlplane/core/override.h"
#include "tests/sim/plants.h"

namespace daarion::sim {
namespace {
using std::chrono::milliseconds;
using std::chrono::microseconds;
using std::chrono::seconds;

constexpr Duration kLiveness = seconds(30);
// All is well, and stays so: longer than any lease, so that one that is about to run out does not pass.
constexpr Duration kStaysWell = seconds(5);
constexpr Duration kLookAgain = milliseconds(250);
constexpr Duration kOperatorWaits = seconds(9);
constexpr Duration kWatchLeader = milliseconds(100);
constexpr std::size_t kMaxBacklog = 4096;

}  // namespace

World::World(std::uint64_t seed, Knobs knobs, bool trace) : seed_(seed), knobs_(knobs), random_(seed), trace_(trace), checker_(*this) {
  spec_.cluster = "sim";
  spec_.lease = knobs_.timers;
  spec_.max_promotions = 0;  // the bound would hide faults behind a wait
  ResourceSpec postgres;
  postgres.id = resource_;
  postgres.engine = "stub";
  postgres.leased = true;
  postgres.max_lag.bytes = knobs_.max_lag_bytes;
  postgres.sync = knobs_.sync;
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
    if (i != 2 || knobs_.nodes > 3 || knobs_.sync != SyncMode::kAsync) postgres.members.push_back(host->id);
    hosts_.push_back(std::move(host));
  }
  postgres.declared_primary = spec_.nodes[0].id;
  spec_.resources.push_back(postgres);
  history_.push_back(std::make_shared<State>());
  leader_ = static_cast<std::size_t>(random_.between(0, knobs_.voters - 1));
}

World::~World() = default;

void World::set_clock(Host& host) {
  // Just within the drift that is allowed: clocks in the middle of it hide what the margin is for.
  const std::int64_t ppm = knobs_.worst_clocks ? (random_.chance(0.5) ? -4900 : 4900) : random_.between(-4900, 4900);
  host.rate = 1.0 + static_cast<double>(ppm) * 1e-6;
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
  if (knobs_.leaders) after(kWatchLeader, [this] { watch_leader_on(); });
}

void World::watch_leader_on() {
  watch_leader();
  after(kWatchLeader, [this] { watch_leader_on(); });
}

void World::run_until(Instant end) {
  while (!queue_.empty() && queue_.top().at <= end && !checker_.broken() && !done_) {
    auto next = std::move(const_cast<Scheduled&>(queue_.top()));
    queue_.pop();
    now_ = next.at;
    next.what();
  }
  if (!checker_.broken() && !done_) now_ = end;
}

std::string World::run(const std::vector<Fault>& faults) {
  boot();
  const Instant safe_end = now_ + knobs_.safety;
  for (const Fault& fault : faults)
    after(fault.at, [this, fault] {
      if (trace_) note("fault " + text_of(fault));
      perform_fault(*this, fault);
    });
  run_until(safe_end);
  if (checker_.broken()) return checker_.failure();
  checker_.healed();
  healed_ = true;
  heal();
  after(kLookAgain, [this, safe_end] { await_settled(safe_end, kNever); });
  run_until(safe_end + kLiveness + kStaysWell);
  if (!checker_.broken()) checker_.finish();
  return checker_.failure();
}

/// Whether there is a writer that everybody follows, and one state everywhere.
bool World::settled() const {
  const Host* writer = nullptr;
  for (const auto& host : hosts_) {
    if (host->gone) continue;
    if (!host->daemon_up || host->state->applied != reference().applied) return false;
    if (host->engine.writable()) writer = host.get();
  }
  const LeaseState* lease = reference().lease(resource_);
  return (set_is_whole() || one_id_twice()) && writer != nullptr && lease != nullptr && lease->phase == LeaseState::Phase::kActive && lease->completed.session == writer->engine.session &&
         checker_.unfollowed(*writer).empty();
}

/// What an operator does for a host that will not come back, when the cluster names it: he has looked, and says so.
void World::give_word() {
  for (const auto& host : hosts_) {
    if (host->gone || !host->daemon_up) continue;
    const auto lost = host->core->lost_holder(resource_, local(*host));
    if (!lost || std::ranges::find(words_given_, lost->session) != words_given_.end()) continue;
    if (is_run(lost->session)) continue;
    words_given_.push_back(lost->session);
    append_by_hand(FencingConfirmed{lost->session}, resource_, {}, "operator:sim", NodeId("node1"));
  }
  // A node that does not run the resource cannot tell whether it did before it was restarted.
  const OpenDecision* d = reference().in_doubt(resource_);
  if (d == nullptr || spec_.resource(resource_)->has_member(d->node) || !reference().may_be_endless(resource_, *d) || is_run(d->session)) return;
  if (std::ranges::find(words_given_, d->session) != words_given_.end()) return;
  words_given_.push_back(d->session);
  append_by_hand(FencingConfirmed{d->session}, resource_, {}, "operator:sim", NodeId("node1"));
}

bool World::is_run(const SessionId& session) const {
  return std::ranges::any_of(hosts_, [&](const auto& h) { return !h->gone && h->guard.taken && h->guard.taken->session == session; });
}

bool World::is_here(const VoterInstance& voter) const {
  return std::ranges::any_of(hosts_, [&](const auto& h) { return !h->gone && h->id == voter.node && h->record && h->record->instance == voter.instance; });
}

/// What an operator does when a majority of the voters is gone for good: he says who is left, and before that whatever the cluster asks for.
/// Returns whether it is so.
bool World::grant_override() {
  const State& state = reference();
  OverrideGranted granted{.parent = state.log.log, .voters = {}, .others_off = "looked", .base = state.voters.id};
  for (const VoterInstance& v : state.voters.voters) {
    if (is_here(v)) granted.voters.push_back(v);
  }
  if (granted.voters.empty() || granted.voters.size() >= state.voters.majority()) return false;
  const std::vector<EndlessSession> endless = endless_sessions(state, resource_);
  if (objection(state, granted).empty()) {
    // Its files and its daemon may be gone, and the guard go on: without an end, if it was paused. Then it is not off.
    if (std::ranges::any_of(endless, [&](const EndlessSession& e) { return is_run(e.session); })) return true;
    append_by_hand(std::move(granted), {}, {}, "operator:sim", NodeId("node1"));
    return true;
  }
  for (const ResourceId& what : {ResourceId{}, resource_}) {
    const auto said = state.operators.find(what.empty() ? "cluster" : what.value);
    if (said == state.operators.end() || said->second.paused <= said->second.resumed) continue;
    append_by_hand(Resumed{}, what, {}, "operator:sim", NodeId("node1"));
    return true;
  }
  for (const EndlessSession& e : endless) {
    if (covers(granted, state.voters, e) || is_run(e.session)) continue;
    append_by_hand(FencingConfirmed{e.session}, resource_, {}, "operator:sim", NodeId("node1"));
    return true;
  }
  return true;
}

/// With a majority nobody was promoted for as long as it was gone, and what is left may be older than the limits allow: an operator takes it.
void World::accept_loss(Instant began) {
  const LeaseState* lease = reference().lease(resource_);
  const auto writes = [](const auto& h) { return !h->gone && h->engine.writable(); };
  // Where commits waited for replicas, one that is lost may be the only one that has what was acknowledged.
  const bool may_be_lost = reference().log.overrides != 0 || knobs_.sync != SyncMode::kAsync;
  if (!may_be_lost || lease == nullptr || now_ - began < kOperatorWaits || std::ranges::any_of(hosts_, writes)) return;
  if (loss_accepted_ != Instant{} && now_ - loss_accepted_ < kOperatorWaits) return;
  loss_accepted_ = now_;
  // Who has the most, and runs: named, for what has parted from the history that the log shows is taken only where a person names it.
  const Host* best = nullptr;
  for (const auto& h : hosts_)
    if (!h->gone && h->engine.running && (best == nullptr || std::pair(h->engine.data.position.timeline, h->engine.data.position.lsn) > std::pair(best->engine.data.position.timeline, best->engine.data.position.lsn)))
      best = h.get();
  if (best == nullptr) return;
  append_by_hand(SwitchoverRequested{.from = lease->completed.node, .to = best->id, .forced = true, .allow_data_loss = true, .valid_ms = 8000, .request = {}}, resource_,
                 {}, "operator:sim", NodeId("node1"));
}

void World::grant_overrides() {
  if (healed_ || !grant_override()) return;  // once all is healed it is done with the other words
  after(kLookAgain, [this] { grant_overrides(); });
}

/// A pause that the log has lost ends as any other.
void World::resume_as_told() {
  for (const auto& host : hosts_) {
    if (host->gone || !host->daemon_up) continue;
    const std::vector<Wait> waits = host->core->waits();
    const bool told = std::ranges::any_of(waits, [](const Wait& w) { return w.unblock.starts_with("daarionctl resume") && w.what.find("which the log has lost") != std::string::npos; });
    if (!told) continue;
    append_by_hand(Resumed{}, resource_, {}, "operator:sim", NodeId("node1"));
    return;
  }
}

void World::await_settled(Instant began, Instant well_since) {
  give_word();
  resume_as_told();
  grant_override();
  accept_loss(began);
  if (!settled()) {
    well_since = kNever;
  } else if (well_since == kNever) {
    well_since = now_;
  } else if (now_ - well_since >= kStaysWell) {
    settled_after_ = well_since - began;
    done_ = true;
    return;
  }
  after(kLookAgain, [this, began, well_since] { await_settled(began, well_since); });
}

// ---- time

Instant World::local(const Host& host) const {
  const Duration step = PLANTED(kWallClock) ? host.wall_step : Duration{};
  return Instant(host.offset + step + Duration(static_cast<std::int64_t>(static_cast<double>(now_.time_since_epoch().count()) * host.rate)));
}

Duration World::to_world(const Host& host, Instant local_time) const {
  if (local_time == kNever) return seconds(3600);
  const Duration d = local_time - local(host);
  return std::max(Duration(0), Duration(static_cast<std::int64_t>(static_cast<double>(d.count()) / host.rate) + 1));
}

/// What an administrator or a time daemon does. Leases are on a clock that nobody sets: nothing may change by it.
void World::set_wall_clock(Host& host, Duration step) {
  note(host.id.value + " wall clock set by " + std::to_string(to_ms(step)) + " ms");
  host.wall_step += step;
  host.timer = {};
  give(host, TimerFired{});
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
                     .fresh_log = random_.id<LogIdTag>(), .topology_hash = "sim", .log_sync = knobs_.tail_loss ? kLogSync : Duration{}};
  config.uptime = now_ - host.booted;
  note(host.id.value + " daemon up");
  host.core = std::make_unique<NodeCore>(config, local(host));
  host.state = std::make_shared<State>();
  host.told_head = {};
  host.told_leaders = {};
  host.timer = {};
  // The fold's own store survives a restart up to its last flush; what it lacks is folded again. A node that is ahead of the log gets
  // a store of its own made anew.
  if (host.stored && random_.chance(knobs_.checkpoint) && !host.ahead_of_log) {
    counters_.add("checkpoints taken up");
    host.state = host.stored;
    checker_.folded(host);
  }
  host.ahead_of_log = host.refolding = false;
  const std::uint64_t life = host.life;
  Host* h = &host;
  start_guard(host);
  after(random_.between(milliseconds(1), milliseconds(50)), [this, h, life] {
    if (h->life == life && h->daemon_up) poll_log(*h);
  });
  if (host.state->applied.value != 0) give(host, StateMoved{host.state, {host.state->applied, {}, "sim"}});
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
  checker_.rebooted(host);
  if (restore_record && host.old_record) host.record = host.old_record;
}

void World::replace_disk(Host& host) {
  note(host.id.value + " voter's disk replaced");
  host.record.reset();
  host.old_record.reset();
  host.stored.reset();
  checker_.replaced(host);
}

bool World::set_is_whole() const {
  const VoterSet& set = reference().voters;
  std::vector<NodeId> nodes;
  for (const VoterInstance& v : set.voters) {
    const auto lives = [&](const auto& h) { return !h->gone && h->id == v.node && h->record && h->record->instance == v.instance; };
    if (std::ranges::none_of(hosts_, lives)) return false;
    nodes.push_back(v.node);
  }
  std::vector<NodeId> declared = reference().topology.spec.voters;
  std::ranges::sort(declared);
  return !set.id.empty() && nodes == declared;
}

bool World::one_id_twice() const {
  return std::ranges::any_of(hosts_, [&](const auto& h) { return h->index != static_cast<int>(h->place) && !h->gone && !hosts_[h->place]->gone; });
}

void World::declare_voters(const std::vector<NodeId>& voters) {
  TopologyChanged changed{reference().topology.spec, reference().topology.file_hash};
  if (changed.spec.voters.empty() || changed.spec.voters == voters) return;
  changed.spec.voters = voters;
  append_by_hand(std::move(changed), {}, {}, "operator:sim", NodeId("node1"));
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
    const auto waiting = std::exchange(h->backlog, {});
    for (const auto& input : waiting) {
      if (h->life != life) return;
      give_shared(*h, input);
    }
    give(*h, TimerFired{});
  });
}

void World::give(Host& host, const Input& input) {
  if (!host.daemon_up || checker_.broken()) return;
  if (now_ < host.paused_until) {
    if (host.backlog.size() < kMaxBacklog) host.backlog.push_back(std::make_shared<Input>(input));
    return;
  }
  perform(host, host.core->step(input, local(host)));
  set_timer(host);
}

void World::give_shared(Host& host, const std::shared_ptr<const Input>& input) {
  if (host.daemon_up && now_ < host.paused_until && host.backlog.size() < kMaxBacklog)
    host.backlog.push_back(input);
  else
    give(host, *input);
}

/// One timer event is pending at most, no later than the core wants it. One that comes before its time looks again, as the shell does.
void World::set_timer(Host& host) {
  const Instant at = now_ + to_world(host, host.core->next_timer());
  if (host.timer > now_ && host.timer <= at) return;
  host.timer = at;
  Host* h = &host;
  const std::uint64_t life = host.life;
  after(at - now_, [this, h, life, at] {
    if (h->life != life || h->timer != at) return;
    h->timer = {};
    if (now_ >= h->paused_until && h->core->next_timer() > local(*h)) return set_timer(*h);
    give(*h, TimerFired{});
  });
}

void World::perform(Host& host, std::vector<Output> outputs) {
  Host* h = &host;
  const std::uint64_t life = host.life;
  for (Output& output : outputs) {
    if (auto* write = std::get_if<WriteRecord>(&output)) {
      const Duration takes = random_.chance(knobs_.slow_disk) ? random_.between(milliseconds(8), seconds(1)) : random_.between(microseconds(200), milliseconds(8));
      // Records reach the disk in the order in which they were asked for.
      host.disk_free = std::max(host.disk_free, now_ + takes);
      after(host.disk_free - now_, [this, h, life, record = std::move(write->record), generation = write->generation] {
        if (h->life != life) return;
        if (!h->record->boot.empty() && (!h->old_record || random_.chance(0.1))) h->old_record = h->record;
        checker_.recorded(*h, record);
        h->record = record;
        give(*h, RecordWritten{generation});
      });
    } else if (auto* beat = std::get_if<SendBeat>(&output)) {
      const auto input = std::make_shared<const Input>(BeatHeard{std::move(beat->beat)});
      for (auto& other : hosts_)
        if (other.get() != &host) send(host, other->index, input);
    } else if (auto* ack = std::get_if<SendAck>(&output)) {
      checker_.acks(host, ack->ack);
      const NodeId holder = ack->ack.holder;
      const auto input = std::make_shared<const Input>(AckHeard{std::move(ack->ack)});
      for (auto& other : hosts_)
        if (other->id == holder) send(host, other->index, input);
    } else if (auto* vote = std::get_if<SendVote>(&output)) {
      checker_.speaks(host);
      const auto input = std::make_shared<const Input>(VoteHeard{std::move(vote->vote)});
      for (auto& other : hosts_)
        if (other.get() != &host) send(host, other->index, input);
    } else if (auto* guard = std::get_if<Guard>(&output)) {
      after(random_.between(microseconds(50), microseconds(500)), [this, h, command = guard->command] { guard_command(*h, command); });
    } else if (auto* drive_it = std::get_if<Drive>(&output)) {
      drive(host, drive_it->command);
    } else if (auto* append = std::get_if<Append>(&output)) {
      checker_.asks(host, append->request);
      on_append(host, append->request);
    } else if (std::holds_alternative<StepDown>(output)) {
      step_down();
    }
  }
}

// ---- network

bool World::reaches(int from, int to) const {
  return nats_up_ && !cut_[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
}

void World::send(Host& from, int to, const std::shared_ptr<const Input>& input) {
  if (!reaches(from.index, to) || random_.chance(knobs_.loss)) return;
  Host* target = hosts_[static_cast<std::size_t>(to)].get();
  const int copies = random_.chance(knobs_.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    // A repeat by the second path may be very late: it stood in a server that stood still.
    const bool buffered = i > 0 && random_.chance(0.1);
    const Duration delay = buffered                      ? random_.between(milliseconds(500), seconds(6))
                           : random_.chance(knobs_.slow) ? random_.between(milliseconds(0), knobs_.slow_by)
                                                         : random_.between(microseconds(100), milliseconds(2));
    after(delay, [this, target, input] {
      if (target->up) give_shared(*target, input);
    });
  }
}

/// Whether the voters whose hosts are here, or come back, are a majority without that installation.
bool World::majority_without(const InstanceId& instance) const {
  const VoterSet& set = reference().voters;
  return std::cmp_greater_equal(std::ranges::count_if(set.voters, [&](const VoterInstance& v) { return v.instance != instance && is_here(v); }), set.majority());
}

/// Of two hosts with one id an operator takes one away for good: not one that wrote last, whose data nobody else may have, none
/// after a pause, for then only the host itself can say that its session is over, and none that the voters are no majority without.
void World::take_one_away() {
  const auto second = std::ranges::find_if(hosts_, [](const auto& h) { return h->index != static_cast<int>(h->place); });
  const LeaseState* lease = reference().lease(resource_);
  if (second == hosts_.end() || lease == nullptr || reference().newest_paused(resource_).value != 0) return;
  Host* one = second->get();
  Host* other = hosts_[one->place].get();
  if (random_.chance(0.5)) std::swap(one, other);
  for (Host* leaves : {one, other}) {
    if (leaves->engine.writable() || leaves->record->instance == lease->completed.instance || !majority_without(leaves->record->instance)) continue;
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
  knobs_.loss = knobs_.duplicate = knobs_.slow = knobs_.append_unknown = knobs_.append_late = knobs_.tail_gap = knobs_.slow_disk = 0;
  take_one_away();
  for (auto& host : hosts_) {
    if (host->gone) continue;
    wake_keeper(*host);
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
  for (const ResourceId& what : {ResourceId{}, resource_}) {
    const auto said = reference().operators.find(what.empty() ? "cluster" : what.value);
    if (said != reference().operators.end() && said->second.paused > said->second.resumed)
      append_by_hand(Resumed{}, what, {}, "operator:sim", NodeId("node1"));
  }
}

}  // namespace daarion::sim
