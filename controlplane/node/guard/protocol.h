// What daemon and guard say to each other over a UNIX socket (SOCK_SEQPACKET): one message, one packet, fields of text.
//
// Daemon to guard: hello | arm session epoch deadline | retire session | fence | start id ... | signal id number | quit
// Guard to daemon: report ... (whole, each time something changes) | done id "" or the error, incarnation, whether it runs | log line
//
// A guard outlives its daemon, so the two may be of different builds: fields are only ever added at the end.
#pragma once

#include <string>
#include <vector>

#include "controlplane/core/io.h"
#include "controlplane/core/result.h"
#include "controlplane/drivers/driver.h"

namespace daarion::guard {

using Fields = std::vector<std::string>;

inline constexpr std::size_t kMaxMessage = 64 << 10;  // an engine's command line and environment are a few KiB

std::string pack(const Fields& fields);
Fields unpack(const char* data, std::size_t size);

/// What a guard starts: the command, with its user looked up by the daemon (the guard asks no user database).
struct Launch {
  EngineCommand command;
  bool switch_user = false;
  unsigned uid = 0, gid = 0;
  std::vector<unsigned> groups;
};

Fields to_fields(const std::string& id, const Launch& launch);
/// Errors: kFixInput if it is malformed.
Result<Launch> launch_of(const Fields& fields);

Fields to_fields(const GuardReport& report);
/// Without `resource` and `connected`, which are the client's to say.
Result<GuardReport> report_of(const Fields& fields);

Fields to_fields(const GuardCommand& command);
Result<GuardCommand> command_of(const Fields& fields);

}  // namespace daarion::guard
