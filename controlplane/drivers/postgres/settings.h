// Every file that PostgreSQL reads and that is ours, rendered and written.
//
// What the operator sets himself goes before our include in postgresql.conf (memory, logging, extensions); ours win. ALTER SYSTEM
// would win over ours: kFollow says so when it does.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/drivers/driver.h"
#include "controlplane/drivers/postgres/postgres_driver.h"
#include "controlplane/drivers/subprocess.h"

namespace daarion::postgres {

inline constexpr const char* kSuperuser = "postgres";  // made by initdb; comes in over the UNIX socket only

/// Pure. The application_name and slot of a node. Slot names allow no '-'; the encoding is unique.
std::string slot_of(const NodeId& node);
/// Pure. Whose slot it is; empty: not one of ours.
NodeId node_of_slot(const std::string& slot);

/// Pure. How a standby reaches `upstream`; the password comes from PGPASSFILE.
std::string conninfo_to(const PeerAddress& upstream, const NodeId& self, const std::string& user);

/// Pure. synchronous_standby_names; empty: commits wait for nobody.
std::string sync_names(const ResourceSpec& resource, const std::vector<NodeId>& names, std::uint32_t needed);
/// Pure. As the resource is declared, while `self` writes.
std::string declared_sync(const ResourceSpec& resource, const NodeId& self);
/// Pure. Whom a value of synchronous_standby_names names, and how many of them it waits for.
std::pair<std::vector<NodeId>, std::uint32_t> read_sync_names(const std::string& text);

/// Pure. daarion.conf, upstream empty: follow nobody; with at least so many max_wal_senders; no sync: as declared.
std::string render_settings(const DriverConfig& config, const PeerAddress* upstream, const Credentials& credentials, std::uint64_t senders = 0,
                            const std::optional<std::string>& sync = {});
std::string render_hba(const DriverConfig& config, const Credentials& credentials);
std::string render_ident(const std::string& engine_user, const std::string& our_user);
std::string render_pass_file(const Credentials& credentials);
std::string quoted(const std::string& text);  // as a setting's value

/// Writes all of them into `data_dir`, standby.signal last. Idempotent. Errors: kRetry with the system's word.
Result<void> write_settings(const DriverConfig& config, const std::string& data_dir, const PeerAddress* upstream,
                            const Credentials& credentials, const SystemUser& user, std::uint64_t senders = 0, const std::optional<std::string>& sync = {});
/// Whether they are as they would be written, but for standby.signal.
bool are_settings_current(const DriverConfig& config, const std::string& data_dir, const PeerAddress* upstream, const Credentials& credentials,
                          const SystemUser& user, std::uint64_t senders, const std::optional<std::string>& sync = {});
Result<void> write_standby_signal(const std::string& data_dir, const SystemUser& user);

}  // namespace daarion::postgres
