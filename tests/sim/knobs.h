// What a seed deals: sizes, timers, rates of chance, and which faults come how often.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "controlplane/core/topology_spec.h"

namespace daarion::sim {

enum class FaultKind {
  kDaemon,           // killed, started again later
  kHost,             // all its processes killed, or the machine lost; comes back later
  kStopped,          // the daemon gets SIGSTOP for a while
  kGuard,            // one of the pair killed
  kEngine,           // ends by itself
  kPartition,        // some links cut for a while
  kSwizzle,          // links of one host cut one after the other, mended in another order
  kElection,         // the log is without a leader
  kNats,             // no messages and no log at all
  kSwitchover,       // an operator asks for one
  kPause,            // an operator pauses, and resumes later
  kFencingWord,      // an operator says that a lost holder is fenced
  kClockStep,        // somebody sets a host's wall clock
  kPowerLoss,        // several hosts at once; with the knob for it the log loses its tail
  kNomination,       // an arbitrary decision in the log
  kFalseEnd,         // another node or instance says that the holder's session ended
  kKeeper,           // the guard's keeper gets SIGSTOP for a while, also while a pause ends
  kSecondHost,       // a node is built anew under its id while its old host lives on
  kDisk,             // a host comes back without its voter's record
  kVoters,           // other voters are declared, where there are more nodes than voters
  kRecords,          // a majority of the voters' records is gone, and an operator says who is left
  kCount
};
inline constexpr std::size_t kFaultKinds = static_cast<std::size_t>(FaultKind::kCount);
const char* text_of(FaultKind kind);

struct Knobs {
  int nodes = 3;
  int voters = 3;
  Duration safety{};            // length of the phase with faults
  int faults = 3;
  std::array<int, kFaultKinds> mix{};  // weights: a swarm, for a seed without one kind shows what that kind hides
  LeaseTimers timers;
  std::uint64_t max_lag_bytes = 1 << 20;
  bool tight = false;           // the fence budget is small, and fences take most of it
  bool worst_clocks = false;    // as fast or as slow as drift allows, none between
  double loss = 0;              // of messages
  double duplicate = 0;
  double slow = 0;              // share of messages that take up to slow_by
  Duration slow_by{};
  double slow_disk = 0;         // share of records that take up to a second to be written
  double append_unknown = 0;    // appends whose answer is lost
  double append_late = 0;       // appends that are stored long after their answer was given up
  double append_twice = 0;      // answers that come twice
  double tail_gap = 0;          // events that the live tail loses
  double stale_read = 0.1;      // reads that end before the log's end
  double checkpoint = 0;        // daemon starts that find a folded state on disk
  bool leaders = false;         // the log's leader is on a host, and lost with it
  bool steered = false;         // a leader that is asked to step down does so
  bool tail_loss = false;       // a power loss takes the newest events
  SyncMode sync = SyncMode::kAsync;  // commits wait for replicas: not where the log loses events, or two hosts have one id
  bool log_faults_only = false; // JetStream alone suffers: nobody may be demoted
};

/// The knobs of a seed.
Knobs deal(std::uint64_t seed);

/// The knobs that can be turned off by name, for shrinking: loss, slow, ...
const std::vector<std::string>& knob_names();
/// Turns one off. Errors: false if there is no knob of that name.
bool turn_off(Knobs& knobs, const std::string& name);

std::string text_of(const Knobs& knobs);

}  // namespace daarion::sim
