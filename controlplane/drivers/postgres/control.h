// What a data directory says about itself without a running engine: pg_control, history files, the bytes of its WAL.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/evidence.h"
#include "controlplane/drivers/subprocess.h"

namespace daarion::postgres {

/// The digits that `text` begins with; 0 if there are none.
std::uint64_t number_of(const std::string& text, int base = 10);

/// The programs of one PostgreSQL version, and how to run them.
struct Tools {
  std::string folder;  // with initdb, postgres, pg_rewind, ...
  SystemUser user;
  std::string pass_file;
  /// KEY=value for every child: its locale (messages are read), its password file.
  std::vector<std::string> environment() const;
};

/// The major version of `data_dir` (its PG_VERSION); 0 if it has no data.
std::uint64_t major_of(const std::string& data_dir);

/// The folder of the programs of version `major`; 0: of the newest installed. Errors: kFixInput naming what is missing.
/// Source: /usr/lib/postgresql/*/bin, then, for any version, PATH.
Result<std::string> find_programs(std::uint64_t major);

struct ControlData {
  std::string state;     // pg_controldata's words: "shut down", "shut down in recovery", "in production", ...
  std::string identity;  // system identifier
  Lsn checkpoint;
  std::uint64_t checkpoint_timeline = 0;
  Lsn recovery_end;  // minimum recovery ending location; 0 on a primary
  std::uint64_t recovery_timeline = 0;
  std::uint64_t segment_bytes = 16 << 20;
  std::uint64_t page_bytes = 8192;
  std::map<std::string, std::uint64_t> settings;  // of the primary, as far as its log was replayed: a standby that has less of one replays no more
  bool clean() const { return state == "shut down" || state == "shut down in recovery"; }
};

/// Source: pg_controldata. Errors: kRetry with its message.
Result<ControlData> read_control(const Tools& tools, const std::string& data_dir);

/// One line of a history file: `timeline` ended, and its child began, at `end`.
struct HistoryLine {
  std::uint64_t timeline = 0;
  Lsn end;
  bool operator==(const HistoryLine&) const = default;
};
using History = std::vector<HistoryLine>;  // of a timeline's ancestors, oldest first

History parse_history(const std::string& text);
/// Of `timeline`; empty for timeline 1. Nothing if the file is missing.
std::optional<History> read_history(const std::string& data_dir, std::uint64_t timeline);

/// The name of the WAL segment that has `lsn`, without its timeline: 16 digits.
std::string segment_of(Lsn lsn, std::uint64_t segment_bytes);

/// The timeline that these data are on: the newest with a history file (or 1) among pg_control's and those of the WAL at `at`.
std::uint64_t newest_timeline(const std::string& data_dir, const ControlData& control, Lsn at);

/// Where the record at `start` ends, as PostgreSQL counts flushed and received bytes: aligned, page headers included. A shutdown
/// checkpoint's end is what a replica that received everything reports. 0 if the record cannot be read.
Lsn end_of_record(const std::string& data_dir, const ControlData& control, std::uint64_t timeline, Lsn start);

/// Arithmetic of end_of_record. Units: bytes.
Lsn advance(Lsn start, std::uint64_t record_bytes, std::uint64_t page_bytes, std::uint64_t segment_bytes);

/// Whether the data's WAL of `timeline` has a whole record at `at`, or a later one: then it went past `at`. Source: pg_waldump.
bool has_record_at(const Tools& tools, const std::string& data_dir, std::uint64_t timeline, Lsn at);

/// Where stopped data end: of a clean stop exactly; after a crash the LSN is 0, since only recovery finds it.
Position position_of(const std::string& data_dir, const ControlData& control);

Lsn parse_lsn(const std::string& text);  // "0/3000148"; 0 if it is none
std::string lsn_text(Lsn lsn);
std::string timeline_text(std::uint64_t timeline);  // "timeline 3"

}  // namespace daarion::postgres
