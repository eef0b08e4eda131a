#include "controlplane/drivers/postgres/settings.h"

#include <unistd.h>

#include <algorithm>

#include "controlplane/drivers/files.h"

namespace daarion::postgres {
namespace {

constexpr const char* kHeader = "# Written by daariond; changes here are lost.\n";
const std::string kInclude = "\n# Ours win over what is above.\ninclude 'daarion.conf'\n";
// A replica that is cut off notices by this, and so does the primary: three beats of a default lease. Shorter ends connections
// over slow checkpoints; longer delays a planned stop, which waits for replicas that do not answer.
constexpr int kReplicationTimeoutS = 5;
// WAL kept for a replica that is away. Beyond it the replica is rebuilt: a dead replica must not fill the primary's disk.
constexpr int kMaxSlotKeepMb = 4096;
// WAL kept in any case, so that pg_rewind finds the last common checkpoint of a former primary.
constexpr int kKeepMb = 512;
// A sender and a slot for each member, and room for a copy, a backup and an operator's own. The same for up to six members: a standby that has
// fewer than its primary replays nothing, so that a member more must not mean a restart of the others.
constexpr std::size_t kSenders = 10;
constexpr std::size_t kSendersBeside = 4;
const std::string kSlotPrefix = "daarion_";

bool is_address(const std::string& host) {
  return host.find_first_not_of("0123456789.") == std::string::npos || host.find(':') != std::string::npos;
}

std::string hba_host(const std::string& host) {
  if (!is_address(host)) return host;
  return host + (host.find(':') == std::string::npos ? "/32" : "/128");
}

std::string setting(const std::string& name, const std::string& value) { return name + " = " + value + "\n"; }

/// A quoted value inside a conninfo string.
std::string conn_value(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

}  // namespace

std::string sync_names(const ResourceSpec& resource, const std::vector<NodeId>& nodes, std::uint32_t needed) {
  if (resource.sync == SyncMode::kAsync || nodes.empty()) return "";
  std::string names;
  for (const NodeId& node : nodes) names += (names.empty() ? "" : ", ") + ("\"" + node.value + "\"");
  return (resource.sync == SyncMode::kSync ? "FIRST " : "ANY ") + std::to_string(needed) + " (" + names + ")";
}

std::string declared_sync(const ResourceSpec& resource, const NodeId& self) { return sync_names(resource, resource.confirmers_of(self), resource.confirmations()); }

std::pair<std::vector<NodeId>, std::uint32_t> read_sync_names(const std::string& text) {
  std::pair<std::vector<NodeId>, std::uint32_t> out;
  const std::size_t open = text.find('('), count = text.find(' ');
  if (open == std::string::npos || count == std::string::npos) return out;
  out.second = static_cast<std::uint32_t>(number_of(text.substr(count + 1)));
  std::string name;
  for (const char c : text.substr(open + 1)) {
    if (c == ',' || c == ')') out.first.emplace_back(std::exchange(name, {}));
    else if (c != '"' && c != ' ') name += c;
  }
  return out;
}

std::string slot_of(const NodeId& node) {
  std::string out = kSlotPrefix;
  for (const char c : node.value) out += c == '_' ? std::string("__") : c == '-' ? std::string("_d") : std::string(1, c);
  return out;
}

NodeId node_of_slot(const std::string& slot) {
  if (!slot.starts_with(kSlotPrefix)) return {};
  std::string out;
  for (std::size_t i = kSlotPrefix.size(); i < slot.size(); ++i) {
    const bool escape = slot[i] == '_' && i + 1 < slot.size();
    out += escape ? (slot[++i] == 'd' ? '-' : '_') : slot[i];
  }
  return NodeId(out);
}

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + "'";
}

std::string conninfo_to(const PeerAddress& upstream, const NodeId& self, const std::string& user) {
  return "host=" + conn_value(upstream.host) + " port=" + std::to_string(upstream.port) + " user=" + conn_value(user) +
         " application_name=" + conn_value(self.value) +
         " connect_timeout=2 keepalives_idle=2 keepalives_interval=1 keepalives_count=3 gssencmode=disable";
}

std::string render_settings(const DriverConfig& c, const PeerAddress* upstream, const Credentials& credentials, std::uint64_t at_least,
                            const std::optional<std::string>& sync) {
  const PeerAddress* self = find_peer(c, c.self);
  const std::string timeout = quoted(std::to_string(kReplicationTimeoutS) + "s");
  const std::string senders = std::to_string(std::max<std::uint64_t>({kSenders, c.resource.members.size() + kSendersBeside, at_least}));
  std::string s = kHeader;
  s += setting("listen_addresses", quoted(self ? self->host : "localhost"));
  s += setting("port", std::to_string(self ? self->port : c.resource.port));
  s += setting("unix_socket_directories", quoted(c.run_dir));
  s += setting("unix_socket_permissions", "0700");
  s += setting("wal_level", "replica");
  s += setting("hot_standby", "on");
  s += setting("wal_log_hints", "on");
  s += setting("track_commit_timestamp", "on");
  s += setting("max_wal_senders", senders);
  s += setting("max_replication_slots", senders);
  s += setting("wal_keep_size", quoted(std::to_string(kKeepMb) + "MB"));
  s += setting("max_slot_wal_keep_size", quoted(std::to_string(kMaxSlotKeepMb) + "MB"));
  s += setting("wal_sender_timeout", timeout);
  s += setting("wal_receiver_timeout", timeout);
  s += setting("wal_receiver_status_interval", quoted("1s"));
  s += setting("wal_retrieve_retry_interval", quoted("100ms"));
  s += setting("recovery_target_timeline", quoted("latest"));
  // A crash inside ends the whole engine: whether it may be opened again is the lease's to say, not its own.
  s += setting("restart_after_crash", "off");
  s += setting("password_encryption", quoted("scram-sha-256"));
  s += setting("synchronous_standby_names", quoted(sync.value_or(declared_sync(c.resource, c.self))));
  s += setting("primary_conninfo", quoted(upstream ? conninfo_to(*upstream, c.self, credentials.user) : ""));
  s += setting("primary_slot_name", quoted(upstream ? slot_of(c.self) : ""));
  return s;
}

std::string render_hba(const DriverConfig& c, const Credentials& credentials) {
  // The superuser comes in over the socket only. Replication and pg_rewind: from members. Everybody else: with a password, from
  // networks that this host is on.
  std::string s = kHeader;
  s += "local all " + std::string(kSuperuser) + " peer map=daarion\n";
  s += "local all all scram-sha-256\n";
  s += "host all " + std::string(kSuperuser) + " all reject\n";
  std::vector<std::string> hosts{"samehost"};
  for (const PeerAddress& p : c.peers) hosts.push_back(hba_host(p.host));
  for (const std::string& host : hosts)
    for (const char* database : {"replication", "postgres"})
      s += std::string("host ") + database + " \"" + credentials.user + "\" " + host + " scram-sha-256\n";
  s += "host all \"" + credentials.user + "\" all reject\n";
  s += "host all all samenet scram-sha-256\n";
  return s;
}

std::string render_ident(const std::string& engine_user, const std::string& our_user) {
  std::string s = kHeader;
  s += "daarion " + engine_user + " " + kSuperuser + "\n";
  if (our_user != engine_user) s += "daarion " + our_user + " " + kSuperuser + "\n";
  return s;
}

std::string render_pass_file(const Credentials& credentials) {
  std::string line = "*:*:*:";
  for (const std::string& part : {credentials.user, std::string(":"), credentials.password}) {
    if (part == ":") {
      line += part;
      continue;
    }
    for (const char c : part) {
      if (c == ':' || c == '\\') line += '\\';
      line += c;
    }
  }
  return line + "\n";
}

Result<void> write_standby_signal(const std::string& data_dir, const SystemUser& user) {
  return write_file(data_dir + "/standby.signal", "", 0600, user);
}

namespace {
using Files = std::vector<std::pair<std::string, std::string>>;  // path and text

Files rendered(const DriverConfig& config, const std::string& data_dir, const PeerAddress* upstream, const Credentials& credentials,
               const std::string& engine_user, std::uint64_t senders, const std::optional<std::string>& sync) {
  const auto ours = find_user("");
  const std::string main_path = data_dir + "/postgresql.conf";
  std::string main = read_file(main_path).value_or("");
  if (main.find(kInclude) == std::string::npos) main += kInclude;
  return {{data_dir + "/daarion.conf", render_settings(config, upstream, credentials, senders, sync)},
          {main_path, main},
          {data_dir + "/pg_hba.conf", render_hba(config, credentials)},
          {data_dir + "/pg_ident.conf", render_ident(engine_user, ours ? ours->name : engine_user)}};
}
}  // namespace

bool are_settings_current(const DriverConfig& config, const std::string& data_dir, const PeerAddress* upstream, const Credentials& credentials,
                          const SystemUser& user, std::uint64_t senders, const std::optional<std::string>& sync) {
  return std::ranges::all_of(rendered(config, data_dir, upstream, credentials, user.name, senders, sync),
                             [](const auto& file) { return read_file(file.first) == file.second; });
}

Result<void> write_settings(const DriverConfig& config, const std::string& data_dir, const PeerAddress* upstream,
                            const Credentials& credentials, const SystemUser& user, std::uint64_t senders, const std::optional<std::string>& sync) {
  for (const auto& [path, text] : rendered(config, data_dir, upstream, credentials, user.name, senders, sync))
    if (auto done = write_file(path, text, 0600, user); !done) return done;
  return write_standby_signal(data_dir, user);
}

}  // namespace daarion::postgres
