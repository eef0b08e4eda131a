#include "tests/sim/knobs.h"

#include <functional>
#include <map>

#include "tests/sim/random.h"

namespace daarion::sim {
namespace {
using std::chrono::milliseconds;
using std::chrono::seconds;

struct Off {
  const char* name;
  void (*off)(Knobs&);
};
constexpr Off kOff[] = {
    {"tight", [](Knobs& k) { k.tight = false; }},
    {"worst_clocks", [](Knobs& k) { k.worst_clocks = false; }},
    {"loss", [](Knobs& k) { k.loss = 0; }},
    {"duplicate", [](Knobs& k) { k.duplicate = 0; }},
    {"slow", [](Knobs& k) { k.slow = 0; }},
    {"slow_disk", [](Knobs& k) { k.slow_disk = 0; }},
    {"append_unknown", [](Knobs& k) { k.append_unknown = 0; }},
    {"append_late", [](Knobs& k) { k.append_late = 0; }},
    {"append_twice", [](Knobs& k) { k.append_twice = 0; }},
    {"tail_gap", [](Knobs& k) { k.tail_gap = 0; }},
    {"stale_read", [](Knobs& k) { k.stale_read = 0; }},
    {"checkpoint", [](Knobs& k) { k.checkpoint = 0; }},
    {"leaders", [](Knobs& k) { k.leaders = false; }},
    {"tail_loss", [](Knobs& k) { k.tail_loss = false; }},
    {"sync", [](Knobs& k) { k.sync = SyncMode::kAsync; }},
};

/// How often each kind comes, when a seed has it at all.
int weight(FaultKind kind) {
  switch (kind) {
    case FaultKind::kDaemon: return 14;
    case FaultKind::kHost: return 20;
    case FaultKind::kStopped: return 12;
    case FaultKind::kGuard: return 8;
    case FaultKind::kEngine: return 10;
    case FaultKind::kPartition: return 16;
    case FaultKind::kSwizzle: return 4;
    case FaultKind::kElection: return 6;
    case FaultKind::kNats: return 4;
    case FaultKind::kSwitchover: return 6;
    case FaultKind::kPause: return 6;
    case FaultKind::kFencingWord: return 2;
    case FaultKind::kClockStep: return 3;
    case FaultKind::kPowerLoss: return 3;
    case FaultKind::kNomination: return 5;
    case FaultKind::kFalseEnd: return 2;
    case FaultKind::kKeeper: return 5;
    case FaultKind::kSecondHost: return 2;
    case FaultKind::kDisk: return 6;
    case FaultKind::kVoters: return 8;
    case FaultKind::kRecords: return 6;
    case FaultKind::kCount: break;
  }
  return 0;
}

}  // namespace

const char* text_of(FaultKind kind) {
  switch (kind) {
    case FaultKind::kDaemon: return "daemon killed";
    case FaultKind::kHost: return "host lost";
    case FaultKind::kStopped: return "daemon stopped";
    case FaultKind::kGuard: return "guard killed";
    case FaultKind::kEngine: return "engine ended";
    case FaultKind::kPartition: return "partition";
    case FaultKind::kSwizzle: return "links cut one by one";
    case FaultKind::kElection: return "log without a leader";
    case FaultKind::kNats: return "NATS gone";
    case FaultKind::kSwitchover: return "switchover asked for";
    case FaultKind::kPause: return "pause";
    case FaultKind::kFencingWord: return "fencing confirmed";
    case FaultKind::kClockStep: return "wall clock set";
    case FaultKind::kPowerLoss: return "power loss";
    case FaultKind::kNomination: return "arbitrary decision";
    case FaultKind::kFalseEnd: return "false end";
    case FaultKind::kKeeper: return "keeper stopped";
    case FaultKind::kSecondHost: return "second host";
    case FaultKind::kDisk: return "voter's disk replaced";
    case FaultKind::kVoters: return "other voters declared";
    case FaultKind::kRecords: return "a majority's records gone";
    case FaultKind::kCount: break;
  }
  return "?";
}

Knobs deal(std::uint64_t seed) {
  Random r(seed * 0x9E3779B97F4A7C15ULL + 1);
  Knobs k;
  k.nodes = r.chance(0.7) ? 3 : 5;
  k.voters = k.nodes == 5 && r.chance(0.5) ? 5 : 3;
  k.safety = r.between(seconds(30), seconds(45));
  k.faults = static_cast<int>(r.between(3, 16));
  k.log_faults_only = r.chance(0.07);
  const auto index = [](FaultKind kind) { return static_cast<std::size_t>(kind); };
  // What changes the voter set is dealt last: where there is none of it, a seed is what it was before.
  for (std::size_t i = 0; i < index(FaultKind::kDisk); ++i) k.mix[i] = r.chance(0.7) ? weight(static_cast<FaultKind>(i)) : 0;
  k.mix[index(FaultKind::kHost)] = weight(FaultKind::kHost);  // never nothing at all
  // Rare worlds: many nominations, pauses at every turn.
  if (r.chance(0.1)) k.mix[index(FaultKind::kNomination)] = 60;
  if (r.chance(0.1)) k.mix[index(FaultKind::kPause)] = 40;
  if (r.chance(0.3)) {
    k.timers.ttl = r.between(milliseconds(1000), milliseconds(4000));
    k.timers.beat = k.timers.ttl / 8;
    k.timers.fence_budget = k.timers.ttl / 4;
  }
  // Tight margins: what the fence budget would hide otherwise has to come to light.
  k.tight = r.chance(0.5);
  if (k.tight) k.timers.fence_budget = k.timers.ttl / 25;
  k.worst_clocks = r.chance(0.5);
  k.max_lag_bytes = r.chance(0.3) ? 100'000 : 1 << 20;
  k.loss = r.chance(0.5) ? 0 : 0.01 * static_cast<double>(r.between(1, 10));
  k.duplicate = r.chance(0.5) ? 0 : 0.05;
  k.slow = r.chance(0.4) ? 0 : r.chance(0.5) ? 0.02 : 0.3;
  k.slow_by = r.chance(0.5) ? r.between(milliseconds(10), milliseconds(800)) : k.timers.ttl;
  k.slow_disk = r.chance(0.7) ? 0 : 0.3;
  k.append_unknown = r.chance(0.5) ? 0 : 0.1;
  k.append_late = r.chance(0.6) ? 0 : 0.05;
  k.append_twice = r.chance(0.5) ? 0 : 0.1;
  k.tail_gap = r.chance(0.5) ? 0 : 0.2;
  k.checkpoint = r.chance(0.3) ? 0 : 0.7;
  k.leaders = true;
  k.steered = r.chance(0.7);
  k.tail_loss = !k.log_faults_only && r.chance(0.15);
  if (k.tail_loss) k.mix[index(FaultKind::kPowerLoss)] = 30;
  if (k.log_faults_only) {
    k.loss = k.slow = 0;
    k.mix = {};
    k.mix[index(FaultKind::kElection)] = 1;
    return k;
  }
  const bool often = r.chance(0.1);  // one change after the other
  if (r.chance(0.3)) k.mix[index(FaultKind::kDisk)] = weight(FaultKind::kDisk) * (often ? 8 : 1);
  if (k.nodes > 3 && r.chance(0.4)) k.mix[index(FaultKind::kVoters)] = weight(FaultKind::kVoters) * (often ? 8 : 1);
  if (r.chance(0.15)) k.mix[index(FaultKind::kRecords)] = weight(FaultKind::kRecords) * (often ? 8 : 1);
  if (!k.tail_loss && r.chance(0.3)) {
    k.sync = r.chance(0.5) ? SyncMode::kSync : SyncMode::kQuorum;
    k.mix[index(FaultKind::kSecondHost)] = 0;
  }
  return k;
}

const std::vector<std::string>& knob_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const Off& knob : kOff) out.emplace_back(knob.name);
    return out;
  }();
  return names;
}

bool turn_off(Knobs& knobs, const std::string& name) {
  for (const Off& knob : kOff)
    if (name == knob.name) {
      knob.off(knobs);
      return true;
    }
  return false;
}

std::string text_of(const Knobs& k) {
  char text[512];
  std::snprintf(text, sizeof text,
                "%d nodes, %d voters, %lld ms of faults, ttl %lld ms, fence budget %lld ms%s%s, loss %.2f, duplicate %.2f, slow %.2f up to %lld ms, "
                "slow_disk %.1f, append_unknown %.2f, append_late %.2f, append_twice %.2f, tail_gap %.1f, checkpoint %.1f%s%s%s%s%s",
                k.nodes, k.voters, static_cast<long long>(to_ms(k.safety)), static_cast<long long>(to_ms(k.timers.ttl)),
                static_cast<long long>(to_ms(k.timers.fence_budget)), k.tight ? ", tight" : "", k.worst_clocks ? ", worst clocks" : "", k.loss, k.duplicate, k.slow,
                static_cast<long long>(to_ms(k.slow_by)), k.slow_disk, k.append_unknown, k.append_late, k.append_twice, k.tail_gap, k.checkpoint,
                k.leaders ? ", leaders" : "", k.steered ? ", steered" : "", k.tail_loss ? ", tail_loss" : "",
                k.sync == SyncMode::kAsync ? "" : k.sync == SyncMode::kSync ? ", sync" : ", quorum", k.log_faults_only ? ", log faults only" : "");
  return text;
}

}  // namespace daarion::sim
