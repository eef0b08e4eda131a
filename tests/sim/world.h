// The simulated cluster: hosts with clocks of their own, a network, a log that behaves like JetStream at its worst, guards,
// engines and drivers. The core that runs in it is the daemon's own. One thread, one source of chance, no clock.
//
// A run has two phases. Safety: faults come as they were dealt, and the checker watches every instant. Liveness: all is healed, and
// within a bound there must be a writer that everybody follows, and one state everywhere, and it must stay so for a while. A node that
// folded what the log lost notices, and folds anew.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "controlplane/core/node_core.h"
#include "tests/harness/data_opening.h"
#include "tests/sim/checker.h"
#include "tests/sim/faults.h"
#include "tests/sim/knobs.h"
#include "tests/sim/random.h"

namespace daarion::sim {

inline const ResourceId kPostgres("postgres");  // the one whose lease is attacked

/// How often engines write and replicas receive.
inline constexpr Duration kEngineTick = std::chrono::milliseconds(20);

/// What is as old as this no power loss takes from the log. As short as it is here more changes of the voter set fit into a run; it counts only
/// where a power loss takes anything.
inline constexpr Duration kLogSync = std::chrono::seconds(3);

/// An engine's data, as they survive a crash.
struct EngineData : test::DataOpening {
  bool exists = false;
  Position position;
  std::vector<TimelineStart> history;
  bool was_primary = false;  // and not stopped cleanly: its end may be one that nobody else has
};

struct Engine {
  EngineData data;
  bool running = false;
  bool primary = false;
  NodeId upstream;
  bool streaming = false;
  bool diverged = false;
  Epoch epoch;            // under which it was opened
  SessionId session;
  Instant contact{};      // world time
  Instant late_until{};   // a standby that streams and receives nothing, world time
  std::vector<NodeId> confirmers;   // of a primary whose commits wait for replicas
  std::uint32_t confirmations = 0;
  Lsn confirmed_from;               // nothing before it was acknowledged by others
  bool writable() const { return running && primary; }
};

struct GuardSim {
  bool alive = false;
  SessionId next;
  std::optional<TakenSession> taken;
  std::vector<SessionEnd> ended;
  std::uint64_t incarnation = 0;
  bool fencing = false;
  std::uint64_t generation = 0;  // of the process; stale events are void
  bool stopped = false;          // the keeper got SIGSTOP: it hears and says nothing, and what it was told waits
  std::vector<GuardCommand> waiting;
  Instant heard_at{};            // world time: when the newest report arrives
};

struct Host {
  NodeId id;
  int index = 0;                   // in the world; a second host with the same id has another
  std::size_t place = 0;           // of its node in the topology
  bool gone = false;               // for good
  bool up = true;
  bool daemon_up = false;
  std::uint64_t life = 0;          // counts daemon starts: events of earlier lives are void
  Instant paused_until{};          // SIGSTOP of the daemon, world time
  std::vector<std::shared_ptr<const Input>> backlog;  // what waits for a paused daemon
  double rate = 1.0;               // of its clock
  Duration offset{};
  Duration wall_step{};            // of its wall clock, which nobody should count on
  BootId boot;
  Instant booted{};                // world time
  std::optional<VoterRecord> record;    // on disk
  std::optional<VoterRecord> old_record;  // an old backup of it
  Instant disk_free{};             // when the record being written is on disk
  std::unique_ptr<NodeCore> core;
  std::shared_ptr<const State> state;   // folded by this daemon
  std::shared_ptr<const State> stored;  // the fold on disk, as of its last flush
  bool ahead_of_log = false;       // it folded what the log lost: it folds nothing until it folds anew
  Sequence common;                 // up to there its fold is of the log all the same
  bool refolding = false;
  LogHead told_head;               // the log's head as this daemon was told
  LeadersSeen told_leaders;
  Instant timer{};                 // world time of the pending timer event
  GuardSim guard;
  Engine engine;
  std::uint64_t engine_life = 0;   // counts engine starts and stops
};

class World {
 public:
  World(std::uint64_t seed, Knobs knobs, bool trace);
  ~World();

  /// Runs both phases with these faults. Returns the checker's verdict: empty if nothing was broken.
  std::string run(const std::vector<Fault>& faults);
  /// How long after the heal all was well; negative if there was no second phase.
  Duration settled_after() const { return settled_after_; }

  // ---- for scripts, instead of run()
  /// Starts every host, and no fault but those that the script makes.
  void boot();
  /// Lets time pass, or stops where an invariant breaks.
  void run_until(Instant end);
  /// Hears every note as it is made.
  void listen(std::function<void(const std::string&)> listener) { listener_ = std::move(listener); }

  // ---- for faults and checker
  Instant now() const { return now_; }
  Random& random() { return random_; }
  std::uint64_t seed() const { return seed_; }
  const Knobs& knobs() const { return knobs_; }
  std::vector<std::unique_ptr<Host>>& hosts() { return hosts_; }
  Checker& checker() { return checker_; }
  const std::vector<LogEvent>& log() const { return log_; }
  /// The log folded one by one, by the checker's own fold.
  const State& reference() const { return *history_.back(); }
  /// The same as of a sequence.
  const State& reference_at(Sequence sequence) const { return *history_[sequence.value]; }
  bool tail_lost() const { return tail_lost_; }
  Counters& counters() { return counters_; }
  void after(Duration d, std::function<void()> what);
  void note(const std::string& what);
  std::uint64_t trace_hash() const { return trace_hash_; }

  void start_host(Host& host);
  void start_daemon(Host& host);
  /// A new host under the id of `old`: empty disks, a voter instance of its own. The old one lives on.
  Host& second_host(Host& old);
  void kill_daemon(Host& host);
  void kill_host(Host& host, bool reboot, bool restore_record);
  /// The voter's record and the fold are gone; what comes up again is another voter.
  void replace_disk(Host& host);
  /// Every voter of the log's set has a host, and the set is the one declared.
  bool set_is_whole() const;
  /// Two hosts live under one id. Which of them votes is an operator's business.
  bool one_id_twice() const;
  /// An operator looks again and again who is left of the voters, and says so until a majority of them lives.
  void grant_overrides();
  /// An operator changes `control.voters` everywhere.
  void declare_voters(const std::vector<NodeId>& voters);
  void kill_guard(Host& host);
  /// SIGSTOP of the keeper; its watcher ends it once a deadline has passed.
  void stop_keeper(Host& host, Duration length);
  void wake_keeper(Host& host);
  void crash_engine(Host& host);
  void pause_daemon(Host& host, Duration length);
  /// No link is cut any more in the second phase.
  void cut(int from, int to, bool is_cut) { cut_[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)] = is_cut && !healed_; }
  bool healed() const { return healed_; }
  void heal();
  void lose_log_leader(Duration length);
  /// The log loses up to so many of its newest events: a power loss took them from a majority of servers.
  void lose_tail(std::size_t events);
  void set_wall_clock(Host& host, Duration step);
  void set_nats(bool up) { nats_up_ = up; }
  void append_by_hand(Payload payload, const ResourceId& resource, Epoch epoch, const std::string& actor, const NodeId& node);

  Instant local(const Host& host) const;
  /// Whether some host's guard has taken the session.
  bool is_run(const SessionId& session) const;

 private:
  /// The host that answers under the id: of two the one that writes.
  Host* host_of(const NodeId& id, const Host& asking);
  void set_clock(Host& host);
  void take_one_away();
  bool majority_without(const InstanceId& instance) const;
  /// Whether the installation's host is here, or comes back.
  bool is_here(const VoterInstance& voter) const;
  struct Scheduled {
    Instant at;
    std::uint64_t order;
    std::function<void()> what;
    bool operator>(const Scheduled& o) const { return at != o.at ? at > o.at : order > o.order; }
  };

  void give(Host& host, const Input& input);
  void give_shared(Host& host, const std::shared_ptr<const Input>& input);
  bool settled() const;
  void give_word();
  void resume_as_told();
  bool grant_override();
  void accept_loss(Instant began);
  void await_settled(Instant began, Instant well_since);
  void perform(Host& host, std::vector<Output> outputs);
  void set_timer(Host& host);
  Duration to_world(const Host& host, Instant local_time) const;
  void send(Host& from, int to, const std::shared_ptr<const Input>& input);
  bool reaches(int from, int to) const;
  bool reaches_log(const Host& host) const;

  void on_append(Host& host, const AppendRequest& request);
  void watch_leader();
  void watch_leader_on();
  void step_down();
  int reached_voters(int from) const;
  AppendResult store(const NodeId& node, const AppendRequest& request);
  void tell_tail(const LogEvent& event);
  void refold(Host& host);
  void refolded(Host& host, LogLost lost);
  void fold_up_to(Host& host, std::size_t count, bool live);
  void flush_fold(Host& host);
  void poll_log(Host& host);

  void guard_report(Host& host);
  void guard_command(Host& host, const GuardCommand& command);
  void watch_deadline(Host& host);
  void fence(Host& host, EndCause cause);
  void end_session(Host& host, EndCause cause);
  void start_guard(Host& host);
  void stop_engine_process(Host& host);

  void drive(Host& host, const DriverCommand& command);
  void finish(Host& host, const DriverCommand& command, std::uint64_t engine_life);
  void observe(Host& host, std::uint64_t op);
  EngineReport report_of(Host& host) const;
  bool follows_history(const Engine& standby, const Engine& primary) const;
  void tick_engines();
  /// How far each replica has it that streams from the host, by node.
  std::map<NodeId, Lsn> received_from(const Host& host) const;
  void set_confirmers(Engine& engine, std::vector<NodeId> nodes, std::uint32_t needed) const;
  void acknowledge(const Host& host);

  const std::uint64_t seed_;
  Knobs knobs_;
  Random random_;
  bool trace_;
  std::function<void(const std::string&)> listener_;
  Instant now_{};
  std::uint64_t order_ = 0;
  std::priority_queue<Scheduled, std::vector<Scheduled>, std::greater<>> queue_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::array<std::array<bool, 8>, 8> cut_{};
  bool nats_up_ = true;
  Instant log_back_{};             // leaderless until then
  std::vector<LogEvent> log_;
  std::set<std::pair<Aggregate, Version>> stored_;
  std::size_t leader_ = 0;         // of the log, by its host's index
  bool tail_lost_ = false;
  std::vector<std::shared_ptr<const State>> history_;  // the log folded up to each sequence
  Duration settled_after_{-1};
  std::vector<SessionId> words_given_;
  Instant loss_accepted_{};
  bool healed_ = false;            // the phase with faults is over
  bool done_ = false;
  TopologySpec spec_;
  ResourceId resource_{"postgres"};
  Counters counters_;
  Checker checker_;
  std::uint64_t trace_hash_ = 1469598103934665603ULL;
};

}  // namespace daarion::sim
