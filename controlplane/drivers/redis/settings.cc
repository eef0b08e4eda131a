#include "controlplane/drivers/redis/settings.h"

#include <algorithm>
#include <cstdlib>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/redis/render.h"

namespace daarion::redis {
namespace {

constexpr const char* kHeader = "# Written by daariond; changes are overwritten at the next start. Your own settings: local.conf beside this file.\n";
// Stream kept for replicas that were away: they get the rest instead of a whole copy. Memory of the server.
constexpr const char* kBacklog = "64mb";
// A replica whose master is gone without a word notices after this; pings come every second.
constexpr const char* kReplicationTimeoutS = "10";
// What an application's user may not do: who writes, and whether the server runs, is the lease's to say.
constexpr const char* kDenied =
    "-replicaof -slaveof -failover -shutdown -debug -psync -sync -module -config|set -config|rewrite -acl|setuser -acl|deluser -acl|load";

/// A word of redis.conf, in double quotes.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string setting(const std::string& name, const std::string& value) { return name + " " + value + "\n"; }

}  // namespace

std::size_t replicas_to_write(const ResourceSpec& resource) {
  const std::size_t others = resource.members.empty() ? 0 : resource.members.size() - 1;
  if (resource.sync == SyncMode::kAsync || others == 0) return 0;
  // Quorum: with the primary itself a majority of the members is near.
  return resource.sync == SyncMode::kSync ? 1 : std::max<std::size_t>(1, resource.members.size() / 2);
}

std::string replica_priority(const ResourceSpec& resource, const NodeId& node) {
  const ResourceTags tags = resource.tags_of(node);
  // Ours is greater for who is preferred. Whatever it is, it is neither 0 nor the 1 of a switchover.
  return tags.nofailover ? "0" : std::to_string(10'000 / std::clamp(tags.priority, 1, 1000));
}

std::string socket_of(const DriverConfig& config) { return config.run_dir + "/" + config.resource.id.value + ".sock"; }
std::string config_path(const std::string& data_dir) { return data_dir + "/redis.conf"; }

std::string render_settings(const DriverConfig& c, const PeerAddress* upstream, const std::string& password, bool local) {
  const PeerAddress* self = find_peer(c, c.self);
  const std::string host = self ? self->host : "127.0.0.1", port = std::to_string(self ? self->port : c.resource.port);
  std::string s = kHeader;
  s += setting("save", "300 1 60 1000 30 100000");
  if (local) s += setting("include", quoted(c.resource.data_dir + "/local.conf"));
  s += setting("bind", host);
  s += setting("port", port);
  s += setting("unixsocket", quoted(socket_of(c)));
  s += setting("unixsocketperm", "700");
  s += setting("protected-mode", "yes");
  s += setting("dir", quoted(c.resource.data_dir));
  s += setting("dbfilename", kDumpFile);
  s += setting("appendonly", "no");
  s += setting("daemonize", "no");
  s += setting("supervised", "no");
  s += setting("logfile", "\"\"");
  s += setting("set-proc-title", "no");
  s += setting("replica-read-only", "yes");
  s += setting("replica-serve-stale-data", "yes");
  s += setting("replica-announce-ip", host);
  s += setting("replica-announce-port", port);
  s += setting("repl-diskless-sync", "yes");
  s += setting("repl-diskless-sync-delay", "0");
  s += setting("repl-diskless-load", "disabled");
  s += setting("repl-ping-replica-period", "1");
  s += setting("repl-timeout", kReplicationTimeoutS);
  s += setting("repl-backlog-size", kBacklog);
  s += setting("repl-backlog-ttl", "0");
  // Raised when it is opened: what is to be the first write must not wait for a replica.
  s += setting("min-replicas-to-write", "0");
  s += setting("enable-debug-command", "no");
  s += setting("enable-module-command", "no");
  s += setting("user", "default on " + quoted(">" + password) + " ~* &* +@all " + kDenied);
  s += setting("user", std::string(kUser) + " on " + quoted(">" + password) + " ~* &* +@all");
  s += setting("masteruser", kUser);
  s += setting("masterauth", quoted(password));
  s += setting("replicaof", upstream ? upstream->host + " " + std::to_string(upstream->port) : std::string(kNobody) + " " + kNobodyPort);
  return s;
}

std::string sentinel_config(const std::string& host, std::uint32_t port, const std::string& folder, const std::string& password) {
  std::string s = "# Sentinel rewrites this file itself. What it monitors the daemons tell it.\n";
  s += setting("bind", host);
  s += setting("port", std::to_string(port));
  s += setting("dir", quoted(folder));
  s += setting("protected-mode", "no");
  s += setting("daemonize", "no");
  s += setting("logfile", "\"\"");
  s += setting("requirepass", quoted(password));
  s += setting("sentinel", "sentinel-pass " + quoted(password));
  s += setting("sentinel", "announce-ip " + quoted(host));
  s += setting("sentinel", "announce-port " + std::to_string(port));
  return s;
}

std::string server_config(const ResourceSpec& resource, const NodeId& node, const std::string& host, const std::string& folder, const std::string& password) {
  DriverConfig config{.self = node, .resource = resource, .peers = {{node, host, resource.port}}, .run_dir = folder, .engine_user = {}};
  config.resource.data_dir = folder;
  return render_settings(config, nullptr, password, false) + setting("replica-priority", replica_priority(resource, node));
}

Result<std::string> needed_password(const std::string& what) {
  const char* password = std::getenv("REDIS_PASSWORD");
  if (password != nullptr && *password != 0) return password;
  return fail(Remedy::kFixInput, "prepare " + what + ": REDIS_PASSWORD is not set; set it in the daemon's environment, the same on all nodes");
}

std::vector<std::string> as_nobodys_replica() { return {"--replicaof", std::string(kNobody) + " " + kNobodyPort}; }

Result<void> write_settings(const DriverConfig& config, const PeerAddress* upstream, const std::string& password, const SystemUser& user) {
  const std::string& folder = config.resource.data_dir;
  return write_file(config_path(folder), render_settings(config, upstream, password, exists(folder + "/local.conf")), 0600, user);
}

}  // namespace daarion::redis
