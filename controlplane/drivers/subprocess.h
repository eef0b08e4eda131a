// Runs an engine's own tools (initdb, pg_basebackup, ...) to their end: no shell, another user if asked, bounded in time.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"

namespace daarion {

/// A system user, looked up once: a child between fork and exec may not ask the user database.
struct SystemUser {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

/// Looks up `name`; empty: the caller. Errors: kFixInput if there is no such user. Source: getpwnam_r, getgrouplist.
Result<SystemUser> find_user(const std::string& name);

struct ToolCommand {
  std::vector<std::string> argv;         // argv[0] is an absolute path
  std::vector<std::string> environment;  // KEY=value, whole: nothing is inherited
  SystemUser user;
  std::string directory = "/";
  Duration limit{};       // for the whole run
  Duration idle_limit{};  // without a byte of output; zero: no such limit
  // A look, which writes nothing: if it was killed and does not end (a driver that hangs in the kernel), nobody waits for that. What writes must be
  // waited for: the next one would begin beside it.
  bool may_be_left = false;
};

struct ToolResult {
  int exit_code = 0;   // 128 + signal if it was ended by one
  std::string output;  // the last 64 KiB
  std::string errors;  // the last 64 KiB
};

/// Runs a tool and waits for it; at a limit its process group is killed. Errors: kRetry, effect kMaybe, at a limit, and where one of the same argv
/// was left behind and still lives; kRetry, effect kNone, if it could not be started. An exit code other than 0 is no error here. Threads: any.
Result<ToolResult> run_tool(const ToolCommand& command);

/// The process, or its group, of a command with this argv that was killed and left behind, and still lives; 0: none. Threads: any.
pid_t left_behind(const std::vector<std::string>& argv);

/// The line of a tool's errors that names the cause: the last with "error:" or "FATAL:", else the last that is not empty.
std::string cause_in(const std::string& errors);

}  // namespace daarion
