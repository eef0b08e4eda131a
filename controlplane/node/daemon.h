// daariond as threads around the core. Nothing blocks the protocol thread: everything slow has a thread and a queue of its own,
// and its result comes back as an input.
//
//   protocol   steps the core, hands out its outputs in their order; raised priority where allowed
//   record     writes and syncs the voter's record (persist comes before send: the core itself waits for RecordWritten)
//   fold       opens the state store, reads the log, folds, publishes each State as a whole
//   append     a few: an append waits for a stream quorum, and different aggregates need not wait for each other
//   judge      looks whether what was folded is still in the log, and has it folded anew where it is not (core/regression.h)
//   info       asks the log's leader for its end, and who leads; carries out step-downs
//   driver     one per resource on this node
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "consumers/state_store.h"
#include "controlplane/core/node_core.h"
#include "controlplane/drivers/driver.h"
#include "controlplane/node/guard_client.h"
#include "streams/mailbox.h"
#include "controlplane/node/record_file.h"
#include "streams/beat_link.h"
#include "streams/event_log.h"

namespace daarion {

/// One leased resource of this node.
struct EngineSeat {
  ResourceId resource;
  std::function<Result<std::unique_ptr<GuardClient>>(GuardClient::OnReport)> guard;
  std::function<std::unique_ptr<Driver>(EngineHost&)> driver;
};

/// The world, as the daemon reaches it. Factories that fail are tried again; each call runs on the thread that uses the result.
struct DaemonPorts {
  /// Makes the links; `handlers(via)` are those of the link of that name, `warn` tells people that one is missing.
  std::function<std::unique_ptr<BeatLink>(const std::function<BeatLink::Handlers(const std::string& via)>& handlers,
                                          const std::function<void(std::string)>& warn)> beats;
  std::shared_ptr<Appender> appender;
  std::function<Result<std::unique_ptr<LogReader>>(Sequence from)> reader;  // the first message it gives has sequence `from`
  std::shared_ptr<LogInfo> info;
  std::function<Result<void>()> provision;               // creates or repairs the streams; null: not this node's to do
  std::function<void()> tend_mirrors;                    // of an edge: looked at and made again where they are no copies; null: it has none
  std::function<void(Sequence first)> log_lost;          // before the fold begins anew: the log lost events from there on; null: nothing to do
  // Events: the newest folded; each replica of the log has them, or is made again. Led here: by this node's server, which alone acts. Null: not this node's to do.
  std::function<void(const EventHeads& events, bool led_here)> tend_replicas;
  std::function<LeadersSeen()> leaders;                  // null: unknown
  std::function<void(bool meta)> step_down;              // null: cannot
  std::function<void(const std::string& subject, const std::string& payload)> telemetry;  // must not block; may lose
  std::vector<EngineSeat> engines;
  std::function<void(std::shared_ptr<const State>)> folded;  // each state that the core gets, on the fold's thread; must not block; null
  std::string state_folder;
};

class Daemon {
 public:
  Daemon(NodeConfig config, RecordFile record, DaemonPorts ports);
  ~Daemon();

  void start();
  /// Planned end: hands over what can be handed over. Threads: any.
  void request_stop();
  /// Blocks until the planned end is done, or `limit` has passed (the guards then fence by their deadlines). True if done.
  bool wait_stopped(Duration limit);

  /// Ends every guard, and what it still runs. After wait_stopped(): until then a guard outlives its daemon. Blocks until they are gone.
  void end_guards();

  /// Called on the protocol thread about every 200 ms, and must not block: how interfaces get what they answer from.
  using Watch = std::function<void(const NodeCore&, Instant now)>;
  void watch(Watch watch) { watch_ = std::move(watch); }
  /// What the shell itself has to say in `status`: a rebuilt store, an event that cannot be applied.
  std::vector<std::string> warnings() const;

 private:
  static constexpr std::size_t kDriverQueue = 64;  // observations pile up while a driver hangs
  struct Seat {
    EngineSeat spec;
    std::unique_ptr<GuardClient> guard;              // made by the driver thread
    std::atomic<GuardClient*> reachable = nullptr;   // the same, once it is there, for the protocol thread
    Mailbox<DriverCommand> commands{kDriverQueue};
    std::thread thread;
  };
  void run_protocol();
  void run_record();
  void run_fold();
  void run_judge();
  void run_append();
  void run_info();
  void ask_head();
  void run_driver(Seat& seat);
  std::unique_ptr<StateStore> open_store();
  void publish_state(const StateStore& store, bool anew = false);
  void publish_heads(const StateStore& store);
  bool tell_anew(const StateStore& store);
  Result<void> follow_log(StateStore& store);
  void perform(Output output);
  void post(Input input);
  void warn(std::string text);

  NodeConfig config_;
  RecordFile record_;
  DaemonPorts ports_;
  Watch watch_;
  std::unique_ptr<BeatLink> beats_;
  Mailbox<Input> inbox_;
  Mailbox<WriteRecord> records_;
  Mailbox<AppendRequest> appends_;
  Mailbox<StepDown> step_downs_;
  Mailbox<Sequence> heads_;
  Mailbox<bool> stopped_;
  std::map<ResourceId, std::unique_ptr<Seat>> seats_;
  std::vector<std::thread> threads_;
  std::atomic<bool> ending_ = false;
  std::atomic<bool> log_led_here_ = false;  // by the newest look at who leads
  std::atomic<std::uint64_t> log_leaders_ = 0;  // that followed one on another
  Instant head_handed_over_{};            // when who leads the log without its beginning was last asked to hand over
  std::string head_said_;                 // of run_info: the newest word on whether the log is there
  std::atomic<bool> refold_ = false;      // the judge's word for the fold thread
  bool anew_ = false;                     // of the fold thread: it folds anew, and has not come to the log's end
  std::mutex folded_mutex_;               // guards what follows
  std::shared_ptr<const EventHeads> folded_heads_;
  LogId folded_log_;
  LogLost lost_;                          // the judge's word, until the new fold is told; folded 0: none
  EventId lost_newest_;                   // of the event at lost_.folded
  mutable std::mutex warnings_mutex_;
  std::vector<std::string> warnings_;
};

}  // namespace daarion
