// Simulated engines, their replication, and the driver that moves them.
#include "tests/sim/world.h"

#include <algorithm>

#include "tests/sim/plants.h"

namespace daarion::sim {
namespace {
using std::chrono::milliseconds;
using std::chrono::microseconds;
}  // namespace

bool World::follows_history(const Engine& standby, const Engine& primary) const {
  const Position& p = standby.data.position;
  if (p.identity != primary.data.position.identity) return false;
  // As the drivers' markers tell: two that opened the same number, one after the other, have parted.
  const auto with = [&](const EngineData& data) { return std::ranges::find(data.history, p.timeline, &TimelineStart::timeline); };
  const auto ours = with(standby.data), theirs = with(primary.data);
  if (ours != standby.data.history.end() && theirs != primary.data.history.end() && ours->session != theirs->session) return false;
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
  e.data.show(r);
  r.upstream = e.upstream;
  r.streaming = e.streaming;
  r.diverged = e.diverged || (!e.running && e.data.was_primary);
  r.contact_age_ms = static_cast<std::uint64_t>(to_ms(now_ - e.contact));
  if (!e.writable() || e.confirmations == 0) return r;
  r.confirmers = e.confirmers;
  r.confirmations = e.confirmations;
  std::uint32_t hold = 0;
  for (const auto& [node, lsn] : received_from(host)) {
    r.followers.push_back(node);
    if (lsn >= e.confirmed_from && std::ranges::find(e.confirmers, node) != e.confirmers.end()) ++hold;
  }
  r.confirmed_all = hold >= e.confirmations;
  return r;
}

std::map<NodeId, Lsn> World::received_from(const Host& host) const {
  std::map<NodeId, Lsn> out;
  for (const auto& other : hosts_) {
    const Engine& s = other->engine;
    if (s.running && !s.primary && s.streaming && s.upstream == host.id && s.data.position.timeline == host.engine.data.position.timeline && s.data.opener() == host.engine.data.opener())
      out[other->id] = s.data.position.lsn;
  }
  return out;
}

void World::set_confirmers(Engine& engine, std::vector<NodeId> nodes, std::uint32_t needed) const {
  engine.confirmers = std::move(nodes);
  engine.confirmations = needed;
  engine.confirmed_from = engine.data.position.lsn;
}

/// What as many replicas have as commits wait for is acknowledged.
void World::acknowledge(const Host& host) {
  const Engine& e = host.engine;
  if (e.confirmations == 0) return;
  std::vector<Lsn> have;
  for (const auto& [node, lsn] : received_from(host))
    if (std::ranges::find(e.confirmers, node) != e.confirmers.end()) have.push_back(lsn);
  std::ranges::sort(have, std::greater<>());
  if (have.size() >= e.confirmations) checker_.acknowledged(host, {e.data.position.timeline, std::min(have[e.confirmations - 1], e.data.position.lsn), {}});
}

void World::observe(Host& host, std::uint64_t op) {
  Host* h = &host;
  const std::uint64_t life = host.life;
  after(random_.between(microseconds(500), milliseconds(5)), [this, h, life, op] {
    if (h->life != life || !h->daemon_up) return;
    EngineReport report = report_of(*h);
    report.looked = op;
    give(*h, EngineObserved{report, local(*h)});
  });
}

void World::drive(Host& host, const DriverCommand& command) {
  if (command.verb == Verb::kObserve) return observe(host, command.op);
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
  } else if (host.guard.stopped && (command.verb == Verb::kStart || command.verb == Verb::kStop || command.verb == Verb::kRejoin || command.verb == Verb::kFollow)) {
    failed("the guard does not answer");
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
          e.data.inherit(up->engine.data, up->id);
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
        if (PLANTED(kStartsWritable) && e.running && e.data.was_primary) e.primary = true;
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
          // As the driver does where nothing has parted: the data are left as they are, and the engine to the next kFollow.
          const bool whole = !command.anew && !e.diverged && !e.data.was_primary && e.data.exists && follows_history(e, up->engine);
          if (!whole) {
            e.data = up->engine.data;
            e.data.inherit(up->engine.data, up->id);
            e.data.was_primary = false;
            e.upstream = up->id;
          }
          e.diverged = false;
          result.method = whole ? "follow" : "rewind";
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
          e.data.history.push_back({e.data.position.timeline, e.data.position.lsn, e.session});
          e.data.was_primary = false;
          e.data.opened = e.session;
          e.data.opened_epoch = command.epoch;
          set_confirmers(e, spec_.resources[0].confirmers_of(host.id), spec_.resources[0].confirmations());
          result.position = e.data.position;
          note(host.id.value + " writable e" + std::to_string(command.epoch.value));
          checker_.opened(host);
        }
        break;
      case Verb::kSetSync:
        if (!e.writable()) failed("it is not open");
        else set_confirmers(e, command.confirmers, command.confirmations);
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
    // Where commits wait for replicas, one may be behind for long while another confirms.
    if (knobs_.sync != SyncMode::kAsync) {
      if (now_ >= s.late_until && random_.chance(0.002)) s.late_until = now_ + random_.between(milliseconds(200), milliseconds(9000));
      if (now_ < s.late_until) continue;
    }
    // Not everything arrives at once.
    const std::uint64_t to = up->engine.data.position.lsn.value - static_cast<std::uint64_t>(random_.chance(0.3) ? random_.between(0, 2000) : 0);
    s.data.history = up->engine.data.history;
    if (s.data.position.timeline != up->engine.data.position.timeline || s.data.opener() != up->engine.data.opener()) s.data.inherit(up->engine.data, up->id);
    s.data.position.timeline = up->engine.data.position.timeline;
    s.data.position.lsn.value = std::max(s.data.position.lsn.value, to);
    const TimelineStart* start = s.data.history.empty() ? nullptr : &s.data.history.back();
    if (start != nullptr && s.data.position.lsn < start->lsn) s.data.position.lsn = start->lsn;
  }
  for (auto& host : hosts_)
    if (host->engine.writable()) acknowledge(*host);
  after(kEngineTick, [this] { tick_engines(); });
}

}  // namespace daarion::sim
