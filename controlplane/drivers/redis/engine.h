// The driver's parts, for its own .cc files: state that all verbs share, and the steps that they are made of.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/drivers/redis/connection.h"
#include "controlplane/drivers/redis/lineage.h"
#include "controlplane/drivers/redis/redis_driver.h"
#include "controlplane/drivers/redis/settings.h"

namespace daarion::redis {

using Steady = std::chrono::steady_clock;

// An upstream on another host: a round trip for each of three steps on a bad day; longer is "no answer", and is tried again.
inline constexpr std::chrono::milliseconds kUpstreamLimit{2000};

class Engine final : public RedisDriver {
 public:
  Engine(DriverConfig config, std::string password, std::string program, SystemUser user, EngineHost& host);
  Result<std::vector<ReplicaLag>> replicas() override;

 private:
  struct Seen {  // one look at a running server
    Info info;
    bool primary = false;
    bool loading = false;
    std::string replid;
    Lsn offset;
    std::optional<Marker> data;  // the list of openings that the data hold
  };

  // ---- verbs (redis_driver.cc, replica.cc)
  Result<void> provision(const DriverCommand& c, DriverResult& r) override;
  Result<void> start(const DriverCommand& c, DriverResult& r) override;
  Result<void> follow(const DriverCommand& c, DriverResult& r) override;
  Result<void> rejoin(const DriverCommand& c, DriverResult& r) override;
  Result<void> promote(const DriverCommand& c, DriverResult& r) override;
  Result<void> stop(const DriverCommand& c, DriverResult& r) override;

  // ---- steps
  Result<void> launch(const PeerAddress* upstream);
  Result<void> end_process(const std::string& how, Duration limit);
  Result<Position> stop_primary(const Seen& seen);
  using Followers = std::vector<std::unique_ptr<Connection>>;
  Followers reach_followers(const Seen& seen);
  static bool await_followers(const Followers& followers, Lsn end);
  void save_ahead();
  std::string last_cause() const;
  std::string dump_path() const { return data_dir_ + "/" + kDumpFile; }
  /// What a healthy replica had, while a copy that a person asked for is made.
  std::string kept_path() const { return data_dir_ + "/before-copy.rdb"; }
  Position stopped_position() const;
  Position present_position();
  Result<Lineage> own_lineage();
  Result<Lineage> ask_upstream(const PeerAddress& upstream);
  Result<Judgement> compare(const PeerAddress& upstream, Lineage& theirs);
  Result<void> learn(const Marker& there);
  Result<void> copy_from(const PeerAddress& upstream, DriverResult& r);
  bool has_known_dump() const;
  bool settle_copy(const Seen& seen);
  Result<void> take_back();
  Result<void> await_link(Duration limit);

  // ---- the kept connection (observe.cc)
  Result<Connection*> connection(Duration limit);
  Result<Seen> look(Duration limit);
  static Result<Seen> look_at(Connection& c, Duration limit);
  void fill_running(EngineReport& report) override;
  void fill_stopped(EngineReport& report) override;
  void fill_standby(EngineReport& report, const Seen& seen);
  void fill_timeline(EngineReport& report, const Marker& marker) const;
  std::uint64_t contact_age_ms(const Seen& seen);
  Position position_of(const Seen& seen, const Marker& marker) const;
  Marker note(const Seen& seen, Marker marker);
  bool begin_to_count(const Seen& seen);
  void keep_up(const Seen& seen, const Marker& marker);
  std::string health_of_primary(const Seen& seen);
  NodeId node_at(const Seen& seen) const;

  const std::string password_;
  const std::string program_;
  const SystemUser user_;
  std::unique_ptr<Connection> kept_;
  std::uint64_t kept_incarnation_ = 0;
  std::uint64_t answered_incarnation_ = 0;  // the newest that ever answered: before that it is starting, after it unresponsive
  std::uint64_t opened_incarnation_ = 0;    // that this driver opened
  std::optional<Steady::time_point> contact_;
  std::optional<Steady::time_point> not_streaming_since_;
  std::pair<std::uint64_t, std::uint64_t> saved_{};  // incarnation and timeline of which a dump was begun
};

/// The timeline that data are of: the newest that they name, else the one whose replication id they have; 0: none.
std::uint64_t timeline_of(const Marker* data, const std::string& replid, const Marker& marker);

/// The text of kTimelinesKey.
std::string timelines_text(const Marker& marker);

}  // namespace daarion::redis
