// What the roles of processes mean, of a resource whose engine elects by itself (MemberSeen.role).
#pragma once

#include <string>

namespace daarion {

/// What takes dumps of a database.
inline constexpr const char* kDumpRole = "dump";
/// A nats-server of the core, the core's that serves no applications, and a leaf node's.
inline constexpr const char* kServerRole = "server";
inline constexpr const char* kWitnessRole = "witness";
inline constexpr const char* kLeafRole = "leaf";
/// A sentinel, what takes dumps, or a leaf node's server: it is what it is, and nothing is handed over to it.
inline bool is_helper(const std::string& role) { return role == "sentinel" || role == kDumpRole || role == kLeafRole; }
/// Whether MemberSeen.identity is the process's, and not of its data: another one is a restart.
inline bool is_known_by_process(const std::string& role) { return role == kServerRole || role == kWitnessRole; }

}  // namespace daarion
