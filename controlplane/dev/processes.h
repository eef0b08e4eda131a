// Processes of a local cluster: started in sessions of their own, known by pid and start time, found by the folder they work in.
//
// WHOSE PROCESS. Every node of a local cluster has a folder. A process is the node's if it carries kFolderVariable with that folder in
// its environment (what is started here, and whatever inherits from it), or if it is one of our or the engine's programs and works in
// the folder or names it as an argument (PostgreSQL and its tools get a fresh environment), or descends from one of these. Somebody's
// shell or editor in that folder is none of them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"

namespace daarion::dev {

inline constexpr const char* kFolderVariable = "DAARION_DEV_NODE";

/// A pid alone is not a process: it is used again. Source: field 22 of /proc/<pid>/stat.
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start = 0;
  bool operator==(const ProcessId&) const = default;
};

struct ProcessInfo {
  ProcessId id;
  pid_t parent = 0;
  char state = '?';      // R, S, T, Z, ... of /proc
  int threads = 0;
  std::string name;      // "postgres"
  std::string command;   // the whole command line
  /// Nothing of it runs any more; it waits for its parent. Its first thread may end before the others, which keep its files and ports.
  bool ended() const { return state == 'Z' && threads <= 1; }
};

/// Nothing if there is no such process. Source: /proc.
std::optional<ProcessInfo> look_at(pid_t pid);
/// Something of it runs, sleeps or is stopped.
bool lives(const ProcessId& id);
/// Sends a signal, never to a later process of the same pid. False if it is gone.
bool send_signal(const ProcessId& id, int signal);

struct Spawn {
  std::vector<std::string> argv;         // argv[0] is looked up in PATH
  std::vector<std::string> environment;  // KEY=value, added to ours
  std::string folder;                    // the node's: working directory, and named in the environment
  std::string log_file;                  // stdout and stderr are appended there
  std::string netns;                     // a network namespace by name; empty: ours
};
/// Starts a process in a session of its own; it outlives us and is nobody's zombie. Errors: kFixInput with the system's word.
Result<ProcessId> spawn(const Spawn& what);

/// Runs a program to its end and returns what it printed. Errors: kFixInput with its first line on stderr.
Result<std::string> run_to_end(const std::vector<std::string>& argv, const std::string& input);

/// Every process of the node with this folder, parents before children where /proc says so. Never ourselves or an ancestor of ours.
std::vector<ProcessInfo> processes_of(const std::string& folder);

/// SIGKILL to all of them in one burst, again until none is left, as when the host loses power. Returns the instant of the first
/// signal. Errors: kRetry after `limit`.
Result<Instant> kill_all_of(const std::string& folder, Duration limit);

/// "<pid> <start>" in a file, and back; nothing if the file is missing or malformed.
Result<void> write_pid_file(const std::string& path, const ProcessId& id);
std::optional<ProcessId> read_pid_file(const std::string& path);

/// The last lines of a file; empty if it cannot be read.
std::string tail_of(const std::string& path, int lines);

}  // namespace daarion::dev
