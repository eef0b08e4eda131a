// Ending processes so that none is left: all descendants of this process, and strays that a lost guard left behind.
//
// Why not the process group: every PostgreSQL child calls setsid(). Why not the first process alone: a busy backend outlives its
// postmaster for seconds and commits. As a child subreaper this process is the parent of every orphan below it, so "nothing is left"
// is what waitpid says with ECHILD, and nothing else.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace daarion::guard {

/// Becomes the parent of all orphans below. Source: prctl(PR_SET_CHILD_SUBREAPER).
void become_subreaper();

/// One round: SIGKILL to every descendant, then takes the ends of those that are gone. True if none is left. Never blocks.
bool kill_round();

/// Rounds until none is left. `each` is called between rounds, which are about 1 ms apart. Blocks for as long as the kernel keeps one.
void kill_until_empty(const std::function<void()>& each);

/// Processes whose working directory is `directory` and whose program is `program` (absolute paths), this process's descendants or not.
std::vector<pid_t> strays(const std::string& directory, const std::string& program);

/// SIGKILL to strays until there is none. False after `limit_ms`.
bool kill_strays(const std::string& directory, const std::string& program, int limit_ms);

/// An engine's cgroup (v2), where the guard may have one: cgroup.kill reaches every process of it at once.
bool make_cgroup(const std::string& folder);
void kill_cgroup(const std::string& folder);
/// True if no process is in it, or it is not there.
bool cgroup_empty(const std::string& folder);

}  // namespace daarion::guard
