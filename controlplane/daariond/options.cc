#include "controlplane/daariond/options.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "controlplane/topology/lint.h"

namespace daarion {
namespace {

std::string names_of(const ClusterFile& file) {
  std::string out;
  for (const NodeSpec& node : file.spec.nodes) out += (out.empty() ? "" : ", ") + node.id.value;
  return out;
}

std::string value_of(const Environment& env, const std::string& name) {
  const auto at = env.find(name);
  return at == env.end() ? std::string{} : at->second;
}

Result<ClusterFile> read_cluster_file(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return fail(Remedy::kFixInput, "read " + path + ": " + std::strerror(errno) + "; name the cluster file with --config or DAARION_CONFIG");
  ParsedFile parsed = parse_cluster_file(text.str());
  if (!has_errors(parsed.findings))
    for (Finding& finding : lint(parsed.file)) parsed.findings.push_back(std::move(finding));
  std::string errors;
  for (const Finding& finding : parsed.findings)
    if (finding.severity == Severity::kError) errors += (errors.empty() ? "" : "\n") + text_of(finding, path);
  if (!errors.empty()) return fail(Remedy::kFixInput, errors);
  return std::move(parsed.file);
}

Result<NodeId> self_of(const Options& options, const ClusterFile& file) {
  if (options.node.empty())
    return fail(Remedy::kFixInput, "which node is this? set NODE_ID or --node to one of: " + names_of(file));
  const auto id = file.node_named(options.node);
  if (!id) return fail(Remedy::kFixInput, "NODE_ID or --node is " + options.node + ", which " + options.config + " does not have; there are: " + names_of(file));
  return *id;
}

/// CLUSTER_PEERS repeats what the file says: where the two differ, one of them is wrong, and guessing which would be worse.
Result<void> check_peers(const std::string& peers, const ClusterFile& file, const NodeId& self) {
  std::stringstream items(peers);
  for (std::string item; std::getline(items, item, ',');) {
    std::erase(item, ' ');
    if (item.empty()) continue;
    const std::size_t colon = item.rfind(':');
    const std::string name = item.substr(0, colon);
    const auto id = file.node_named(name);
    const bool address = std::ranges::any_of(file.spec.nodes, [&](const NodeSpec& n) { return n.address == name; });
    if (!id && !address)
      return fail(Remedy::kFixInput, "CLUSTER_PEERS names " + name + ", which the cluster file does not have; there are: " + names_of(file));
    if (id && *id == self) return fail(Remedy::kFixInput, "CLUSTER_PEERS names " + name + ", which is this node; it lists the others");
    const std::string port = colon == std::string::npos ? "" : item.substr(colon + 1);
    if (!port.empty() && port != std::to_string(file.nats.client) && port != std::to_string(file.nats.witness_client))
      return fail(Remedy::kFixInput, "CLUSTER_PEERS says port " + port + " for " + name + ", the cluster file " + std::to_string(file.nats.client) +
                                         " (control.nats.client); make them agree");
  }
  return {};
}

Result<NodeRole> role_of(const std::string& text, NodeRole declared) {
  if (text.empty()) return declared;
  if (text == "primary") return NodeRole::kPrimary;
  if (text == "replica") return NodeRole::kReplica;
  if (text == "edge") return NodeRole::kEdge;
  return fail(Remedy::kFixInput, "NODE_ROLE is " + text + "; it is primary, replica or edge");
}

}  // namespace

Environment environment() {
  Environment out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (const std::size_t equals = text.find('='); equals != std::string::npos) out[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return out;
}

Result<std::string> secret_of(const std::string& name, const Environment& env) {
  if (const std::string value = value_of(env, name); !value.empty()) return value;
  const std::string path = value_of(env, name + "_FILE");
  if (path.empty()) return fail(Remedy::kFixInput, name + " is not set; set it, or " + name + "_FILE to a file that holds it");
  std::ifstream in(path);
  std::string line;
  if (!std::getline(in, line) || line.empty())
    return fail(Remedy::kFixInput, name + "_FILE is " + path + ": it cannot be read or is empty");
  return line;
}

Result<Setup> read_setup(Options options, const Environment& env) {
  Setup setup;
  auto file = read_cluster_file(options.config);
  if (!file) return tl::unexpected(file.error());
  setup.file = std::move(*file);
  std::string errors;
  const auto note_error = [&](const Error& error) { errors += (errors.empty() ? "" : "\n") + error.message; };
  if (const auto self = self_of(options, setup.file)) setup.self = *self;
  else return tl::unexpected(self.error());
  const NodeRole declared = setup.file.spec.node(setup.self)->role;
  const std::string role = value_of(env, "NODE_ROLE");
  if (const auto said = role_of(role, declared)) setup.role = *said;
  else note_error(said.error());
  if (setup.role != declared) setup.notes.push_back("NODE_ROLE is " + role + ", the cluster file says otherwise; it counts only on an empty log");
  if (const auto peers = check_peers(value_of(env, "CLUSTER_PEERS"), setup.file, setup.self); !peers) note_error(peers.error());
  for (const auto& [name, to] : {std::pair{"DAARION_CONTROL_PASSWORD", &setup.secrets.control}, std::pair{"DAARION_SYS_PASSWORD", &setup.secrets.sys}}) {
    if (auto secret = secret_of(name, env)) *to = *secret;
    else note_error(secret.error());
  }
  if (options.data.empty()) options.data = "/var/lib/daarion/" + setup.self.value;
  if (options.run.empty()) options.run = "/run/daarion/" + setup.self.value;
  for (const auto& [name, path] : {std::pair{"--data", &options.data}, std::pair{"--run", &options.run}})
    if (path->front() != '/') note_error({Remedy::kFixInput, Effect::kNone, std::string(name) + " is " + *path + "; give an absolute path"});
  if (access(options.guard.c_str(), X_OK) != 0)
    note_error({Remedy::kFixInput, Effect::kNone, "--guard is " + options.guard + ", which cannot be executed; it is installed beside daariond"});
  setup.options = std::move(options);
  if (!errors.empty()) return fail(Remedy::kFixInput, errors);
  return setup;
}

}  // namespace daarion
