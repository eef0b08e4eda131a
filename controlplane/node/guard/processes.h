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

/// Opens what kill_round() needs later, when the system may have no descriptor left. Call once, in each guard.
void prepare_to_kill();

/// One round: SIGKILL to every descendant, then takes the ends of those that are gone. True if none is left. Never blocks. Direct
/// children are found and killed without a new descriptor; deeper ones become direct when their parents are gone.
bool kill_round();

/// Rounds until none is left. `each` is called between rounds, which are about 1 ms apart. Blocks for as long as the kernel keeps one.
void kill_until_empty(const std::function<void()>& each);

enum class Strays { kNone, kLeft, kUnknown };  // kUnknown: processes could not be looked at

/// SIGKILL to processes whose working directory is `directory` and whose program is `program`, descendants or not, until there is none.
/// Compared by what is there, not by path: the same path in another container is another folder. At most about `limit_ms`; `why`
/// then says whom it could not end or see. Needs CAP_SYS_PTRACE to see processes of another user.
Strays kill_strays(const std::string& directory, const std::string& program, int limit_ms, std::string& why);

/// An engine's cgroup (v2), where the guard may have one: cgroup.kill reaches every process of it at once.
bool make_cgroup(const std::string& folder);
void kill_cgroup(const std::string& folder);
/// True if no process is in it, or it is not there.
bool cgroup_empty(const std::string& folder);

}  // namespace daarion::guard
