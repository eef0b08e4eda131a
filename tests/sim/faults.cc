#include "tests/sim/faults.h"

#include <algorithm>

#include "tests/sim/world.h"

namespace daarion::sim {
namespace {
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;


/// One fault being performed: its chance is its own, so that it does not hang on what else happened.
struct Doing {
  World& w;
  Random r;

  Host& any_host() { return *w.hosts()[static_cast<std::size_t>(r.between(0, static_cast<std::int64_t>(w.hosts().size()) - 1))]; }
  /// Faults aim at the holder half of the time: there they matter.
  Host& victim() {
    const bool at_holder = r.chance(0.5);
    Host& any = any_host();
    Host* holder = at_holder ? writer() : nullptr;
    return holder != nullptr ? *holder : any;
  }
  Host* writer() {
    for (auto& host : w.hosts())
      if (host->engine.writable()) return host.get();
    return nullptr;
  }
  /// A later part of the fault, with a chance of its own.
  void later_on(Duration in, void (*part)(Doing&)) {
    w.after(in, [&w = w, part, chance = r.bits()] {
      Doing d{w, Random(chance)};
      part(d);
    });
  }

  void daemon() { restart_daemon(victim()); }

  void restart_daemon(Host& host) {
    w.kill_daemon(host);
    w.after(r.between(milliseconds(50), seconds(4)), [&w = w, &host] { w.start_daemon(host); });
  }

  void lose(Host& host, bool reboot, bool restore) {
    w.kill_host(host, reboot, restore);
    w.after(r.between(milliseconds(200), seconds(8)), [&w = w, &host] {
      if (!host.up) host.booted = w.now();
      w.start_host(host);
    });
  }

  void host() {
    const bool reboot = r.chance(0.6);
    // Records of long ago and a lost tail together are beyond what is promised.
    const bool restore = reboot && r.chance(0.2) && !w.knobs().tail_loss;
    lose(victim(), reboot, restore);
  }

  void power_loss() {
    std::vector<Host*> all;
    for (auto& host : w.hosts()) all.push_back(host.get());
    for (std::size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[static_cast<std::size_t>(r.between(0, static_cast<std::int64_t>(i) - 1))]);
    const std::size_t lost = r.chance(0.5) ? all.size() : all.size() / 2 + 1;
    w.note("power loss of " + std::to_string(lost) + " hosts");
    for (std::size_t i = 0; i < lost; ++i) lose(*all[i], true, false);
    if (w.knobs().tail_loss) w.lose_tail(static_cast<std::size_t>(r.between(1, 6)));
  }

  void cut_for(std::vector<std::pair<int, int>> links, Duration length) { cut_links(w, links, length); }
  static void cut_links(World& w, const std::vector<std::pair<int, int>>& links, Duration length) {
    for (const auto& [a, b] : links) w.cut(a, b, true);
    w.after(length, [&w, links] {
      for (const auto& [a, b] : links) w.cut(a, b, false);
      w.note("partition over");
    });
  }

  /// The links to a host, and those from it if it is not to be heard either.
  std::vector<std::pair<int, int>> links_of(const Host& host, bool unheard) {
    std::vector<std::pair<int, int>> links;
    for (int i = 0; i < static_cast<int>(w.hosts().size()); ++i) {
      if (i == host.index) continue;
      links.emplace_back(i, host.index);
      if (unheard) links.emplace_back(host.index, i);
    }
    return links;
  }

  void partition() {
    const int n = static_cast<int>(w.hosts().size());
    const int kind = static_cast<int>(r.between(0, 4));
    const int one = victim().index;
    const int other = (one + static_cast<int>(r.between(1, n - 1))) % n;
    std::vector<std::pair<int, int>> links;
    for (int i = 0; i < n; ++i) {
      if (i == one) continue;
      const bool alone = kind == 0, bridge = kind == 1 && i == other, one_way = kind == 2 && i == other, unheard = kind == 3, deaf = kind == 4;
      if (alone || bridge || one_way || unheard) links.emplace_back(one, i);
      if (alone || bridge || deaf) links.emplace_back(i, one);
    }
    w.note("partition kind " + std::to_string(kind) + " at node" + std::to_string(one + 1));
    cut_for(std::move(links), r.between(milliseconds(300), seconds(8)));
  }

  /// A replica that confirmed leaves, the others are late to receive what it had, and the writer is lost when the set has just become smaller.
  void wear_out() {
    Host* holder = writer();
    if (holder == nullptr) return partition();
    std::vector<Host*> others;
    for (auto& host : w.hosts())
      if (host.get() != holder) others.push_back(host.get());
    std::swap(others.front(), others[static_cast<std::size_t>(r.between(0, static_cast<std::int64_t>(others.size()) - 1))]);
    for (std::size_t i = 1; i < others.size(); ++i) others[i]->engine.late_until = w.now() + r.between(seconds(6), seconds(10));
    w.after(r.between(milliseconds(100), milliseconds(1000)), [&w = w, gone = others.front(), chance = r.bits()] {
      Doing then{w, Random(chance)};
      then.cut_for(then.links_of(*gone, true), then.r.between(seconds(6), seconds(12)));
    });
    later_on(r.between(milliseconds(5500), milliseconds(8500)), [](Doing& then) {
      if (Host* writes = then.writer()) then.lose(*writes, then.r.chance(0.5), false);
    });
  }

  void swizzle() {
    const int one = victim().index;
    w.note("links of node" + std::to_string(one + 1) + " go one by one");
    for (int i = 0; i < static_cast<int>(w.hosts().size()); ++i)
      for (const auto& [a, b] : {std::pair(one, i), std::pair(i, one)}) {
        if (a == b) continue;
        const Duration down = r.between(milliseconds(0), seconds(3));
        w.after(down, [&w = w, a = a, b = b] { w.cut(a, b, true); });
        w.after(down + r.between(milliseconds(300), seconds(5)), [&w = w, a = a, b = b] { w.cut(a, b, false); });
      }
  }

  void nats_for(Duration length) {
    w.set_nats(false);
    w.note("nats down");
    w.after(length, [&w = w] {
      w.set_nats(true);
      w.note("nats up");
    });
  }

  void switchover() {
    const LeaseState* lease = w.reference().lease(kPostgres);
    if (lease == nullptr || lease->completed.epoch.value == 0) return;
    SwitchoverRequested wish{.from = lease->completed.node, .to = any_host().id, .forced = r.chance(0.2), .allow_data_loss = r.chance(0.2),
                             .valid_ms = 8000, .request = {}};
    if (wish.to == wish.from || wish.to == NodeId("node3")) wish.to = {};
    w.append_by_hand(wish, kPostgres, {}, "operator:sim", wish.from);
    // Its daemon may die at any step of it, and another one goes on.
    if (!r.chance(0.4)) return;
    for (auto& host : w.hosts())
      if (host->engine.writable())
        w.after(r.between(milliseconds(0), milliseconds(400)), [&w = w, h = host.get()] {
          w.kill_daemon(*h);
          w.after(milliseconds(50), [&w, h] { w.start_daemon(*h); });
        });
  }

  /// A person has a replica's data copied anew, or in some worlds its engine restarted.
  void rejoin() {
    const LeaseState* lease = w.reference().lease(kPostgres);
    const NodeId node = any_host().id;
    if (lease == nullptr || !lease->has_holder() || node == lease->completed.node || node == NodeId("node3")) return;
    if (w.seed() % 4 == 3) w.append_by_hand(RestartRequested{}, kPostgres, {}, "operator:sim", node);
    else w.append_by_hand(RejoinRequested{}, kPostgres, {}, "operator:sim", node);
  }

  void pause() {
    if (w.reference().lease(kPostgres) == nullptr) return;
    const ResourceId what = r.chance(0.5) ? kPostgres : ResourceId{};
    const auto resume = [&w = w, what] {
      if (w.reference().paused(kPostgres)) w.append_by_hand(Resumed{}, what, {}, "operator:sim", NodeId("node1"));
    };
    if (w.reference().paused(kPostgres)) return resume();
    w.append_by_hand(Paused{}, what, {}, "operator:sim", NodeId("node1"));
    w.after(r.between(milliseconds(500), seconds(8)), resume);
    if (r.chance(0.2)) return half_told();
    if (r.chance(0.2) && !w.knobs().tail_loss) forgotten();
  }

  /// Of any node; or of the holder of a pause that ends while its keeper hears nothing, and then its node is cut off or loses its daemon.
  void keeper() {
    Host* holder = writer();
    if (holder == nullptr || w.reference().lease(kPostgres) == nullptr || w.reference().paused(kPostgres) || r.chance(0.4))
      return w.stop_keeper(victim(), r.between(milliseconds(50), seconds(8)));
    w.append_by_hand(Paused{}, kPostgres, {}, "operator:sim", NodeId("node1"));
    later_on(r.between(milliseconds(400), seconds(3)), [](Doing& d) {
      Host* now = d.writer();
      if (now == nullptr || d.w.healed()) return;
      d.w.stop_keeper(*now, d.r.between(seconds(2), seconds(12)));
      if (d.w.reference().paused(kPostgres)) d.w.append_by_hand(Resumed{}, kPostgres, {}, "operator:sim", NodeId("node1"));
      d.later_on(d.r.between(milliseconds(1), milliseconds(700)), [](Doing& then) {
        Host* last = then.writer();
        if (last == nullptr || then.w.healed()) return;
        if (then.r.chance(0.3)) {
          then.w.kill_daemon(*last);
          return then.w.after(then.r.between(seconds(3), seconds(9)), [&w = then.w, last] { w.start_daemon(*last); });
        }
        then.cut_for(then.links_of(*last, false), then.r.between(seconds(3), seconds(9)));
      });
    });
  }

  /// What was just stored reaches some, and then all messages stop for longer than most leases: those who know of it may be a minority.
  void half_told() {
    later_on(r.between(microseconds(200), milliseconds(4)), [](Doing& d) {
      if (!d.w.healed()) d.nats_for(d.r.between(seconds(2), seconds(6)));
    });
  }

  /// Every voter but the holder's own loses what it wrote down of the pause, and does not hear the holder: the log alone can tell it.
  void forgotten() {
    later_on(r.between(milliseconds(300), seconds(2)), [](Doing& d) {
      Host* holder = d.writer();
      if (holder == nullptr || d.w.healed()) return;
      d.w.note("only " + holder->id.value + " remembers the pause");
      d.cut_for(d.links_of(*holder, true), d.r.between(seconds(7), seconds(14)));
      for (auto& host : d.w.hosts())
        if (host.get() != holder) d.lose(*host, true, true);
    });
  }

  /// The operator looked: the host is off, and so its session is over for ever.
  void fencing_word() {
    const LeaseState* lease = w.reference().lease(kPostgres);
    if (lease == nullptr || lease->completed.epoch.value == 0) return;
    const SessionId session = lease->completed.session;
    if (!w.reference().paused(kPostgres)) {
      w.append_by_hand(Paused{}, kPostgres, {}, "operator:sim", NodeId("node1"));
      w.after(r.between(seconds(8), seconds(12)), [&w = w] {
        if (w.reference().paused(kPostgres)) w.append_by_hand(Resumed{}, kPostgres, {}, "operator:sim", NodeId("node1"));
      });
    }
    Host* holder = nullptr;
    for (auto& host : w.hosts())
      if (host->guard.taken && host->guard.taken->session == session) holder = host.get();
    if (holder == nullptr) return;
    w.after(r.between(milliseconds(300), seconds(2)), [&w = w, holder] {
      if (!w.healed()) w.kill_host(*holder, true, false);
    });
    const Duration back = r.between(seconds(6), seconds(12));
    // He may look before the pause is over, after it, and after the host is back.
    w.after(r.between(seconds(3), seconds(13)), [&w = w, session] {
      for (auto& host : w.hosts())
        if (host->engine.writable() || (host->guard.taken && host->guard.taken->session == session)) return;
      w.append_by_hand(FencingConfirmed{session}, kPostgres, {}, "operator:sim", NodeId("node1"));
    });
    w.after(back, [&w = w, holder] {
      if (!holder->up) holder->booted = w.now();
      w.start_host(*holder);
    });
  }

  /// Decisions may be wrong in any way, and still no two write.
  void nominate() {
    const LeaseState* lease = w.reference().lease(kPostgres);
    if (lease == nullptr || lease->epoch.value == 0) return;
    Host& host = any_host();
    PromotionDecided decided{.to = host.id, .session = host.guard.next};
    if (host.record) decided.instance = host.record->instance;
    // A decision of an older log named no instance; whose session it was nobody knows.
    if (r.chance(0.3)) decided.instance = {};
    if (r.chance(0.2)) decided.session = SessionId{r.bits() | 1, r.bits()};
    const std::int64_t epoch = static_cast<std::int64_t>(lease->epoch.value) + r.between(-1, 3);
    w.append_by_hand(decided, kPostgres, Epoch{static_cast<std::uint64_t>(std::max<std::int64_t>(1, epoch))}, "operator:chance", NodeId("node1"));
  }

  /// A decision named no instance, and another host with the id of the one that offers the session says that it ended: true of itself,
  /// and taken as such. The one that offers it hears nobody, so it goes on offering it when the holder is lost.
  void end_of_offered() {
    const LeaseState* lease = w.reference().lease(kPostgres);
    Host* holder = writer();
    Host& other = any_host();
    if (holder == nullptr || &other == holder || other.id == holder->id || lease == nullptr || !other.guard.alive || other.guard.taken) return;
    const SessionId offered = other.guard.next;
    const Epoch epoch{lease->epoch.value + 1};
    cut_for(links_of(other, false), r.between(seconds(3), seconds(10)));
    w.append_by_hand(PromotionDecided{.to = other.id, .session = offered}, kPostgres, epoch, "operator:chance", NodeId("node1"));
    w.append_by_hand(PromotionFailed{offered, InstanceId{r.bits() | 1, 1}}, kPostgres, epoch, "node:" + other.id.value, other.id);
    lose(*holder, r.chance(0.5), false);
  }

  /// Whoever is not the session's own node and instance may say what it likes.
  void false_end() {
    if (r.chance(0.3)) return end_of_offered();
    const LeaseState* lease = w.reference().lease(kPostgres);
    if (lease == nullptr || !lease->has_holder()) return;
    const CompletedLease& holder = lease->completed;
    const bool another_node = r.chance(0.5);
    NodeId by = holder.node;
    for (auto& host : w.hosts())
      if (another_node && host->id != holder.node) by = host->id;
    const InstanceId instance = another_node ? holder.instance : InstanceId{r.bits() | 1, 1};
    w.append_by_hand(LeaseReleased{.session = holder.session, .cause = EndCause::kFenced, .instance = instance}, kPostgres, holder.epoch,
                     "node:" + by.value, by);
  }

  /// A node whose disk was replaced, or that somebody set up twice: the old host may be cut off meanwhile, and comes back.
  void second_host() {
    if (w.hosts().size() > static_cast<std::size_t>(w.knobs().nodes) || !w.set_is_whole()) return;
    Host& old = victim();
    if (r.chance(0.5)) cut_for(links_of(old, true), r.between(milliseconds(300), seconds(8)));
    w.second_host(old);
  }

  /// The machine comes back with an empty disk where its voter's record was. Not while the set lacks another voter already: with a majority of the
  /// records gone nobody but an operator can go on. A record that is gone and a lost tail together are beyond what is promised, as old records are.
  void disk() {
    Host& host = victim();
    if (!w.set_is_whole() || w.hosts().size() > static_cast<std::size_t>(w.knobs().nodes) || w.knobs().tail_loss) return;
    // Its files alone are gone, and its daemon with them: the guard goes on with what it has.
    if (r.chance(0.3))
      restart_daemon(host);
    else
      lose(host, r.chance(0.5), false);
    w.replace_disk(host);
  }

  /// An operator says that all but some are off while they are not few enough, of another log, or of hosts that are no voters.
  void hasty_override() {
    const State& state = w.reference();
    OverrideGranted granted{.parent = r.chance(0.7) ? state.log.log : LogId{r.bits() | 1, r.bits()}, .voters = state.voters.voters, .others_off = "not looked", .base = state.voters.id};
    if (granted.voters.empty()) return;
    if (granted.parent != state.log.log) granted.voters.resize(1);
    else if (r.chance(0.5)) granted.voters = {{any_host().id, InstanceId{r.bits() | 1, 1}}};
    w.append_by_hand(std::move(granted), {}, {}, "operator:chance", NodeId("node1"));
  }

  /// Of a majority of the voters the records are gone for good, and an operator looks who is left. Who held by the promises of those that are gone
  /// may live, and the ones that are left may not have heard of him for longer than a lease.
  void records() {
    if (r.chance(0.3)) hasty_override();
    if (!w.set_is_whole() || w.hosts().size() > static_cast<std::size_t>(w.knobs().nodes) || w.knobs().tail_loss) return;
    const VoterSet set = w.reference().voters;
    std::vector<Host*> voters;
    for (auto& host : w.hosts())
      if (host->record && set.has(host->id, host->record->instance)) voters.push_back(host.get());
    for (std::size_t i = voters.size(); i > 1; --i) std::swap(voters[i - 1], voters[static_cast<std::size_t>(r.between(0, static_cast<std::int64_t>(i) - 1))]);
    const std::size_t left = static_cast<std::size_t>(r.between(1, set.majority() - 1));
    const Duration ttl = w.knobs().timers.ttl;
    Duration from_now{};
    if (Host* holder = writer(); holder != nullptr && r.chance(0.6)) {
      std::vector<std::pair<int, int>> links;
      for (std::size_t i = 0; i < left; ++i)
        if (voters[i] != holder) links.emplace_back(holder->index, voters[i]->index);
      w.note(holder->id.value + " is not heard by those that will be left");
      cut_links(w, links, r.between(3 * ttl, 6 * ttl));
      from_now = r.between(ttl + ttl / 10, 2 * ttl);
    }
    const std::vector<Host*> gone(voters.begin() + static_cast<std::ptrdiff_t>(left), voters.end());
    const Duration looks = r.between(milliseconds(1), r.chance(0.5) ? milliseconds(300) : seconds(4));
    const bool reboot = r.chance(0.5);
    w.after(from_now, [&w = w, gone, looks, reboot, chance = r.bits()] {
      if (w.healed() || !w.set_is_whole()) return;
      Doing then{w, Random(chance)};
      for (Host* host : gone) {
        // Its files alone are gone here too.
        if (host == then.writer() && then.r.chance(0.5) && w.reference().newest_paused(kPostgres).value == 0) {
          then.restart_daemon(*host);
        } else {
          then.lose(*host, reboot, false);
        }
        w.replace_disk(*host);
      }
      w.after(looks, [&w] { w.grant_overrides(); });
    });
  }

  /// An odd number of the nodes.
  void voters() {
    if (w.hosts().size() > static_cast<std::size_t>(w.knobs().nodes)) return;
    std::vector<NodeId> nodes;
    for (auto& host : w.hosts()) nodes.push_back(host->id);
    for (std::size_t i = nodes.size(); i > 1; --i) std::swap(nodes[i - 1], nodes[static_cast<std::size_t>(r.between(0, static_cast<std::int64_t>(i) - 1))]);
    nodes.resize(r.chance(0.3) ? 5 : 3);
    std::ranges::sort(nodes);
    if (writer() == nullptr || r.chance(0.4)) return w.declare_voters(nodes);
    unheard_holder(nodes);
  }

  /// The same, once nobody but one other node has heard the holder for longer than a lease: who joins owes it nothing. It may be paused first, and
  /// know nothing of the pause's end.
  void unheard_holder(const std::vector<NodeId>& nodes) {
    const Duration ttl = w.knobs().timers.ttl;
    Host& holder = *writer();
    Host& other = any_host();
    std::vector<std::pair<int, int>> links;
    for (const auto& host : w.hosts())
      if (host.get() != &holder && host.get() != &other) links.emplace_back(holder.index, host->index);
    w.note(holder.id.value + " is heard by " + other.id.value + " alone");
    cut_links(w, links, r.between(3 * ttl, 7 * ttl));
    const bool paused = r.chance(0.5);
    const Duration pause = r.between(milliseconds(300), seconds(1));
    w.after(r.between(ttl + ttl / 10, 2 * ttl), [&w = w, &holder, &other, nodes, paused, pause, ttl] {
      if (w.healed()) return;
      if (!paused || w.reference().paused(kPostgres) || w.reference().lease(kPostgres) == nullptr) return w.declare_voters(nodes);
      w.append_by_hand(Paused{}, kPostgres, {}, "operator:sim", NodeId("node1"));
      w.after(pause, [&w, &holder, &other, nodes, ttl] {
        if (w.reference().paused(kPostgres)) w.append_by_hand(Resumed{}, kPostgres, {}, "operator:sim", NodeId("node1"));
        if (w.healed()) return;
        cut_links(w, {{holder.index, other.index}, {other.index, holder.index}}, 4 * ttl);
        w.declare_voters(nodes);
      });
    });
  }
};

}  // namespace

std::vector<Fault> deal_faults(std::uint64_t seed, const Knobs& knobs) {
  Random r(seed * 0xD1B54A32D192ED03ULL + 7);
  std::int64_t whole = 0;
  for (const int weight : knobs.mix) whole += weight;
  std::vector<Fault> faults;
  for (int i = 0; i < knobs.faults && whole > 0; ++i) {
    std::int64_t at = r.between(0, whole - 1);
    std::size_t kind = 0;
    while (at >= knobs.mix[kind]) at -= knobs.mix[kind++];
    faults.push_back({0, r.between(seconds(3), Duration(knobs.safety)), static_cast<FaultKind>(kind), r.bits()});
  }
  std::ranges::stable_sort(faults, {}, &Fault::at);
  for (std::size_t i = 0; i < faults.size(); ++i) faults[i].number = static_cast<int>(i) + 1;
  return faults;
}

std::string text_of(const Fault& fault) {
  return std::to_string(fault.number) + " at " + std::to_string(to_ms(fault.at)) + " ms: " + text_of(fault.kind);
}

void perform_fault(World& w, const Fault& fault) {
  w.counters().add(std::string("fault: ") + text_of(fault.kind));
  Doing d{w, Random(fault.chance)};
  switch (fault.kind) {
    case FaultKind::kDaemon: return d.daemon();
    case FaultKind::kHost: return d.host();
    case FaultKind::kStopped: {
      Host& host = d.victim();
      return w.pause_daemon(host, d.r.between(milliseconds(50), seconds(6)));
    }
    case FaultKind::kGuard: return w.kill_guard(d.victim());
    case FaultKind::kEngine: return w.crash_engine(d.victim());
    case FaultKind::kPartition: return w.knobs().sync != SyncMode::kAsync && d.r.chance(0.15) ? d.wear_out() : d.partition();
    case FaultKind::kSwizzle: return d.swizzle();
    case FaultKind::kElection: return w.lose_log_leader(d.r.between(w.knobs().log_faults_only ? seconds(1) : seconds(4), seconds(9)));
    case FaultKind::kNats: return d.nats_for(d.r.between(milliseconds(100), seconds(4)));
    case FaultKind::kSwitchover: return d.r.chance(0.15) ? d.rejoin() : d.switchover();
    case FaultKind::kPause: return d.pause();
    case FaultKind::kFencingWord: return d.fencing_word();
    case FaultKind::kClockStep: {
      Host& host = d.victim();
      return w.set_wall_clock(host, d.r.between(seconds(-5), seconds(5)));
    }
    case FaultKind::kPowerLoss: return d.power_loss();
    case FaultKind::kNomination: return d.nominate();
    case FaultKind::kFalseEnd: return d.false_end();
    case FaultKind::kKeeper: return d.keeper();
    case FaultKind::kSecondHost: return d.second_host();
    case FaultKind::kDisk: return d.disk();
    case FaultKind::kVoters: return d.voters();
    case FaultKind::kRecords: return d.records();
    case FaultKind::kCount: return;
  }
}

}  // namespace daarion::sim
