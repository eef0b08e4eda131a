// What every driver of an engine with a data directory does alike: one verb at a time, an observation of an engine that may end meanwhile, a
// directory that is ours by its marker, peers by name.
#pragma once

#include <string>

#include "controlplane/drivers/driver.h"
#include "controlplane/drivers/marker.h"

namespace daarion {

const PeerAddress* find_peer(const DriverConfig& config, const NodeId& node);

/// Errors: kFixInput if the node is not among its peers, or data_dir is no absolute path.
Result<void> check_config(const DriverConfig& config);

/// A driver whose verbs are functions. Threads: as Driver.
class VerbDriver : public Driver {
 public:
  DriverResult run(const DriverCommand& command) final;
  EngineReport observe() final;

 protected:
  enum class Data { kEmpty, kForeign, kOurs };
  VerbDriver(DriverConfig config, EngineHost& host);

  virtual Result<void> provision(const DriverCommand& c, DriverResult& r) = 0;
  virtual Result<void> start(const DriverCommand& c, DriverResult& r) = 0;
  virtual Result<void> follow(const DriverCommand& c, DriverResult& r) = 0;
  virtual Result<void> rejoin(const DriverCommand& c, DriverResult& r) = 0;
  virtual Result<void> promote(const DriverCommand& c, DriverResult& r) = 0;
  virtual Result<void> stop(const DriverCommand& c, DriverResult& r) = 0;
  virtual Result<void> set_sync(const DriverCommand&) { return {}; }  // of an engine whose commits wait for nobody
  // An observation of data that are ours: one of the two, then what does not depend on whether it runs.
  virtual void fill_running(EngineReport& report) = 0;
  virtual void fill_stopped(EngineReport& report) = 0;
  virtual void fill_rest(EngineReport&) {}
  /// Who opened the timeline that it is on, as the marker has it. Returns that opening; null: it has none.
  const Opening* fill_opening(EngineReport& report, const Marker& marker) const;

  /// Whether a note beside a data directory without a marker says that it is ours.
  virtual bool noted_ours() const { return false; }

  Data data() const;
  std::string what_is_foreign() const;
  Result<void> need_ours() const;
  /// The member to follow. Errors: kFixInput if there is none of that name, or it is this node.
  Result<const PeerAddress*> peer(const NodeId& node) const;
  /// Refuses a session whose epoch is older than one that these data were opened under. Errors: kStepDown.
  static Result<void> need_newest(const Marker& marker, Epoch epoch);
  /// The end of the engine's log: the last few attempts to start or to stream.
  std::string log_tail() const;

  const DriverConfig config_;
  EngineHost& host_;
  const std::string data_dir_;
  const std::string log_file_;
};

}  // namespace daarion
