// Dumps of the one instance that Neo4j Community has, by an operator's command at a time of day; what came of them is kept and told.
//
// Community dumps only a database that is stopped (`neo4j-admin database dump` refuses one in use: tried with 5.26), so the command ends Neo4j, dumps
// it and starts it again; how its service is stopped here no driver can know. It runs on the instance's own node, once in each period, within the first
// part of it: a dump that was missed is not made up for at noon. A command that fails is not repeated before the next period: each try is an outage.
//
//   every 24h, at 03:00     03:00:00 begun   03:00:09 well: "dump of 2026-11-26T03:00:09Z"
//   the daemon is off       ...              09:00 it is back: nothing; older than max_age (30 h): a warning, until 03:00:09
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"

namespace daarion::neo4j {

struct DumpPlan {
  std::string exec;          // words split at spaces, no shell; the first is an absolute path
  std::string file;          // what it writes, if that is to be looked at: there, not empty, and of this run
  Duration every = std::chrono::hours(24);
  Duration at{};             // of the period, which begins at midnight UTC
  Duration timeout = std::chrono::minutes(30);
  Duration max_age = std::chrono::hours(30);
};
/// From what was declared; nothing: no dump is.
std::optional<DumpPlan> dump_plan(const std::map<std::string, std::string>& declared);

/// What is known of the dumps so far. Units: milliseconds since 1970; 0: never.
struct DumpRecord {
  std::int64_t since = 0;      // when this was first looked at: a fresh record is no late dump
  std::int64_t begun = 0, ended = 0;  // of the newest; begun and not ended: it runs, or its daemon ended
  std::int64_t succeeded = 0;  // the end of the newest that did well
  std::string error;           // of the newest; empty: it did well
  bool operator==(const DumpRecord&) const = default;
};
std::string to_text(const DumpRecord& record);
/// A text that is none is a fresh record.
DumpRecord dump_record(const std::string& text);

/// Whether to begin now.
bool dump_due(const DumpPlan& plan, const DumpRecord& record, std::int64_t now);
/// What is wrong, for people; empty: nothing.
std::string dump_trouble(const DumpPlan& plan, const DumpRecord& record, bool runs, std::int64_t now);
/// "2026-11-26T03:00:09Z"
std::string utc_text(std::int64_t ms);

/// Threads: one at a time; a dump runs on a thread of its own.
class Dumper {
 public:
  /// `folder`: of this node's own, where the record is kept. `environment`: what the command is told, KEY=value.
  Dumper(DumpPlan plan, std::string folder, std::vector<std::string> environment);
  /// A dump that runs goes on by itself for as long as the process lives: its result is then not known.
  ~Dumper();
  /// Begins one if it is due and `may` be. Never blocks.
  void tick(bool may, std::int64_t now);
  bool runs() const;
  DumpRecord record() const;
  /// As dump_trouble, or why the record cannot be kept.
  std::string trouble(std::int64_t now) const;

 private:
  struct Shared;
  void run(std::int64_t now);
  const DumpPlan plan_;
  const std::vector<std::string> environment_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace daarion::neo4j
