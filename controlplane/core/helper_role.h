// The roles of processes that serve no data themselves, among those of a resource whose engine elects by itself (MemberSeen.role).
#pragma once

#include <string>

namespace daarion {

/// What takes dumps of a database.
inline constexpr const char* kDumpRole = "dump";
/// A sentinel, or what takes dumps: it is what it is, and nothing is handed over to it.
inline bool is_helper(const std::string& role) { return role == "sentinel" || role == kDumpRole; }

}  // namespace daarion
