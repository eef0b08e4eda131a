// The simulated guard: sessions, deadlines, fences.
#include "tests/sim/world.h"

#include <algorithm>
#include <utility>

#include "tests/sim/plants.h"

namespace daarion::sim {
namespace {
using std::chrono::milliseconds;
using std::chrono::microseconds;
constexpr Duration kGrace = milliseconds(100);  // of the watcher
}  // namespace

void World::start_guard(Host& host) {
  if (host.guard.alive || !host.up) return;
  // Whoever starts a guard first makes sure that nothing of an earlier one is left.
  if (!PLANTED(kEngineOutlivesGuard)) stop_engine_process(host);
  host.guard.alive = true;
  ++host.guard.generation;
  host.guard.next = random_.id<SessionTag>();
  host.guard.taken.reset();
  host.guard.ended.clear();
  host.guard.fencing = false;
  host.guard.stopped = false;
  host.guard.waiting.clear();
}

void World::guard_report(Host& host) {
  const GuardSim& g = host.guard;
  if (g.alive && g.stopped) return;
  GuardReport report{.resource = resource_, .connected = g.alive, .next = g.next, .taken = g.taken, .ended = g.ended,
                     .incarnation = g.incarnation, .engine_running = host.engine.running, .fencing = g.fencing};
  Host* h = &host;
  const std::uint64_t life = host.life;
  // One socket: a report never passes the one before it.
  host.guard.heard_at = std::max(host.guard.heard_at + microseconds(1), now_ + random_.between(microseconds(50), microseconds(300)));
  after(host.guard.heard_at - now_, [this, h, life, report] {
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
    if (!PLANTED(kEngineOutlivesGuard)) stop_engine_process(*h);
    if (!h->daemon_up) return;
    start_guard(*h);
    guard_report(*h);
  });
}

void World::stop_keeper(Host& host, Duration length) {
  if (!host.up || !host.guard.alive || host.guard.fencing || host.guard.stopped || healed_) return;
  note(host.id.value + " keeper stopped for " + std::to_string(to_ms(length)) + " ms");
  host.guard.stopped = true;
  Host* h = &host;
  const std::uint64_t generation = host.guard.generation;
  after(length, [this, h, generation] {
    if (h->guard.generation == generation) wake_keeper(*h);
  });
}

void World::wake_keeper(Host& host) {
  if (!std::exchange(host.guard.stopped, false)) return;
  note(host.id.value + " keeper goes on");
  guard_report(host);
  watch_deadline(host);
  for (const GuardCommand& command : std::exchange(host.guard.waiting, {})) guard_command(host, command);
}

void World::watch_deadline(Host& host) {
  if (!host.guard.taken || host.guard.taken->deadline == kNever) return;
  Host* h = &host;
  const std::uint64_t generation = host.guard.generation;
  after(to_world(host, host.guard.taken->deadline), [this, h, generation] {
    if (h->guard.generation != generation || !h->guard.taken || h->guard.fencing) return;
    if (local(*h) < h->guard.taken->deadline) return;  // it was moved; another watch is set
    if (h->guard.stopped) {
      // The watcher gives the keeper its time, then ends it and everything below.
      const std::uint64_t of = h->guard.generation;
      return after(std::min<Duration>(kGrace, knobs_.timers.fence_budget / 4), [this, h, of] {
        if (h->guard.generation != of || !h->guard.taken || local(*h) < h->guard.taken->deadline) return;
        counters_.add("keepers ended");
        kill_guard(*h);
      });
    }
    if (PLANTED(kGuardNeedsDaemon) && (!h->daemon_up || now_ < h->paused_until)) return;
    counters_.add("fences");
    fence(*h, EndCause::kFenced);
  });
}

void World::guard_command(Host& host, const GuardCommand& command) {
  GuardSim& g = host.guard;
  if (!host.up || !g.alive || g.fencing) return;
  if (g.stopped) return g.waiting.push_back(command);
  switch (command.kind) {
    case GuardCommand::Kind::kArm:
      // A deadline that has passed ends a session that has none.
      if (command.deadline <= local(host) && !(g.taken && g.taken->session == command.session && g.taken->deadline == kNever)) return;
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
        checker_.raised(host);
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
  if (PLANTED(kFencedIsSignalled)) end_session(host, cause), host.guard.fencing = true;
  guard_report(host);
}

void World::end_session(Host& host, EndCause cause) {
  GuardSim& g = host.guard;
  g.fencing = false;
  if (g.taken) g.ended.push_back({g.taken->session, cause});
  if (g.taken && PLANTED(kSessionReused)) g.next = g.taken->session, g.ended.pop_back();
  if (g.ended.size() > 8) g.ended.erase(g.ended.begin());
  g.taken.reset();
  guard_report(host);
}

void World::crash_engine(Host& host) {
  if (!host.engine.running || !host.guard.alive || host.guard.fencing || host.guard.stopped) return;
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
  if (e.writable()) checker_.closes(host);
  if (e.running) note(host.id.value + " engine gone" + (e.primary ? ", was primary" : ""));
  if (e.writable()) e.data.was_primary = true;
  e.running = e.primary = e.streaming = false;
  ++host.engine_life;
}

}  // namespace daarion::sim
