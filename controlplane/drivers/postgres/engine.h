// The driver's parts, for its own .cc files: state that all verbs share, and the steps that they are made of.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/drivers/marker.h"
#include "controlplane/drivers/postgres/ancestry.h"
#include "controlplane/drivers/postgres/connection.h"
#include "controlplane/drivers/postgres/control.h"
#include "controlplane/drivers/postgres/fitness.h"
#include "controlplane/drivers/postgres/postgres_driver.h"
#include "controlplane/drivers/postgres/settings.h"

namespace daarion::postgres {

using Steady = std::chrono::steady_clock;

// observe() is to be done in about 500 ms, worst case: knock, connect and ask, each bounded.
inline constexpr std::chrono::milliseconds kKnockLimit{150};
inline constexpr std::chrono::milliseconds kConnectLimit{150};
inline constexpr std::chrono::milliseconds kAskLimit{150};
// An upstream on another host: a round trip for each of four steps on a bad day; longer is "no answer", and is tried again.
inline constexpr std::chrono::milliseconds kUpstreamLimit{2000};

// What older servers lack, by the first version that has it. 13 is the oldest that is managed.
inline constexpr std::uint32_t kReplayPauseState = 140000;  // pg_get_wal_replay_pause_state()
inline constexpr std::uint32_t kCheckpointRole = 150000;    // pg_checkpoint: others than a superuser may ask for a checkpoint

/// Best effort: what fails, or takes longer than 300 ms, is tried again with the next look.
Rows ask(Connection& c, const std::string& sql);

class Engine final : public PostgresDriver {
 public:
  Engine(DriverConfig config, Credentials credentials, Tools tools, EngineHost& host);
  Result<std::vector<ReplicaLag>> replicas() override;

 private:
  struct Seen {  // one look at a running engine, over the kept connection
    bool primary = false;
    std::string identity;
    std::string started;
    std::string version;
    Lsn received;  // standby
    Lsn replayed;  // standby
    Lsn written;   // primary
    std::uint64_t timeline = 0;
    bool streaming = false;
    bool paused = false;  // its replay
    bool read_out = false;  // a standby that has read its own log to the end
    std::string receiver;
    std::string upstream_host;
    std::uint32_t upstream_port = 0;
    std::uint64_t contact_age_ms = 0;
    bool contact_known = false;
    std::string conninfo;
    std::string slot;
    std::string sync;  // synchronous_standby_names
  };

  // ---- verbs (postgres_driver.cc, replica.cc)
  Result<void> provision(const DriverCommand& c, DriverResult& r) override;
  Result<void> start(const DriverCommand& c, DriverResult& r) override;
  Result<void> follow(const DriverCommand& c, DriverResult& r) override;
  Result<void> rejoin(const DriverCommand& c, DriverResult& r) override;
  Result<void> promote(const DriverCommand& c, DriverResult& r) override;
  Result<void> stop(const DriverCommand& c, DriverResult& r) override;
  Result<void> set_sync(const DriverCommand& c) override;

  // ---- steps
  bool noted_ours() const override;
  Result<Position> stopped_position();
  Result<ControlData> control();
  Result<void> launch(const PeerAddress* upstream);
  Result<void> end_process(int signal, Duration limit);
  std::string last_fatal() const;
  Result<void> make_new_cluster(const std::string& folder);
  Result<void> copy_from(const PeerAddress& upstream, const std::string& folder);
  Result<void> put_in_place(const std::string& folder, const Marker& marker, const PeerAddress* upstream);
  Result<void> rewind_from(const PeerAddress& upstream, const Lineage& theirs);
  Result<void> may_copy(Connection& there, const PeerAddress& upstream, const Lineage& theirs);
  Result<void> rebuild_from(const PeerAddress& upstream, const Lineage& theirs, DriverResult& result);
  Result<void> has_room(Connection& there, const std::string& folder);
  Result<void> forget_unopened();
  Result<void> learn_openings(const Lineage& own, const Lineage& upstream);
  Target target_of(const PeerAddress& peer) const;
  Result<std::unique_ptr<Connection>> connect_to(const PeerAddress& upstream);
  Result<Lineage> ask_upstream(Connection& c, const PeerAddress& upstream);
  Result<Lineage> own_lineage();
  Result<void> make_slot_there(Connection& c);
  bool has_wal_there(Connection& c, const Lineage& own, const Lineage& theirs);
  bool ended_as_primary();
  Result<void> note_stray();
  void learn_followed(const Seen& seen);
  Judgement compare(const Lineage& own, const Lineage& theirs);

  // ---- the kept connection (observe.cc)
  Result<Connection*> connection(Duration limit);
  Result<Seen> look(Duration limit);
  void fill_running(EngineReport& report) override;
  void fill_stopped(EngineReport& report) override;
  void fill_rest(EngineReport& report) override;
  void fill_seen(EngineReport& report, const Seen& seen);
  NodeId node_at(const Seen& seen) const;

  // ---- for whose word commits wait (sync.cc)
  Result<void> put_in_force(const std::string& names, const PeerAddress* upstream);
  bool file_has(const std::string& names) const;
  void fill_sync(EngineReport& report, const Seen& seen);

  // ---- what is to be so, and what a person should know of (upkeep.cc, slots.cc)
  void keep_up(const Seen& seen);
  void keep_role(Connection& c);
  void keep_checkpoint(Connection& c);
  void keep_slots(Connection& c);
  void keep_slots_as_heir(Connection& c, const Seen& seen);
  void keep_files(const Seen& seen);
  std::string why_replay_stands(Connection& c);
  void fill_problems(EngineReport& report, const Seen& seen);
  std::uint64_t senders_at_least();

  std::string rewinding_path() const { return data_dir_ + ".daarion-rewinding"; }
  /// Says that somebody else than us opened these data; gone once they were led back, or when an operator wants to keep them.
  std::string strayed_path() const { return data_dir_ + ".daarion-strayed"; }

  const Credentials credentials_;
  Tools tools_;
  std::unique_ptr<Connection> kept_;
  std::uint64_t kept_incarnation_ = 0;
  std::uint64_t answered_incarnation_ = 0;  // the newest that ever answered: before that it is starting, after it unresponsive
  std::uint64_t read_out_incarnation_ = 0;  // that has read its own log to the end
  std::optional<Steady::time_point> contact_;
  std::optional<std::pair<std::string, ControlData>> control_cache_;  // by pg_control's modification
  Steady::time_point kept_up_{};
  std::uint64_t kept_up_incarnation_ = 0;
  bool has_read_files_ = false;  // the engine its settings, since this daemon began
  bool kept_up_as_primary_ = false;
  bool files_kept_ = false;  // since then
  std::uint64_t learned_timeline_ = 0;  // whose opening was asked for, if any is known there
  std::optional<Steady::time_point> not_streaming_since_;
  std::string sync_seen_;           // synchronous_standby_names, and
  bool sync_taken_up_ = false;      // every sender goes by it
  std::optional<Lsn> sync_from_;    // nothing before it was acknowledged by another
  Fitness fitness_;
  std::vector<std::string> slot_problems_;
  std::vector<DroppedSlot> dropped_slots_;  // not yet reported
  std::string blocked_;                     // why its replay stands, as of
  Steady::time_point blocked_at_{};
};

}  // namespace daarion::postgres
