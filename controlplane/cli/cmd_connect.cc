// connect: the engine's own client, on whoever holds the resource now.
#include <CLI/CLI.hpp>

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "controlplane/cli/admin_client.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"

namespace daarion {
namespace {

struct ConnectOptions {
  std::string resource, user, database;
  bool print = false;
  std::vector<std::string> rest;
};

/// The command, or nothing if this software knows no client of the engine. The address is from the log: never read as an option.
std::vector<std::string> command_of(const v1::ResourceStatus& r, const std::string& address, const ConnectOptions& o) {
  const std::string port = std::to_string(r.port());
  std::vector<std::string> out;
  if (r.engine() == "postgresql") {
    // A session that finds itself on a replica after a promotion ends at once instead of failing at its first write.
    std::string where = "host=" + address + " port=" + port + " target_session_attrs=read-write connect_timeout=5";
    if (!o.user.empty()) where += " user=" + o.user;
    where += " dbname=" + (o.database.empty() ? std::string("postgres") : o.database);
    out = {"psql", where};
  } else if (r.engine() == "redis") {
    out = {"redis-cli", "-h", address, "-p", port};
    if (!o.user.empty()) out.insert(out.end(), {"--user", o.user});
    if (!o.database.empty()) out.insert(out.end(), {"-n", o.database});
  }
  if (!out.empty()) out.insert(out.end(), o.rest.begin(), o.rest.end());
  return out;
}

std::string quoted(const std::string& word) {
  if (!word.empty() && word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=") == std::string::npos) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

ExitCode run_connect(const Globals& globals, const ConnectOptions& options) {
  for (const std::string& word : {options.user, options.database})
    if (word.find_first_of(" '\\=") != std::string::npos) return say({ExitCode::kUsage, "--user and --database are plain names, not \"" + word + "\""});
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  v1::GetResourceRequest request;
  request.set_resource(options.resource);
  const auto resource = (*client)->call(request);
  if (!resource) return say(resource.error());
  if (!resource->has_holder()) return say({ExitCode::kRefused, "nobody holds " + resource->id() + " now; see `daarionctl why-not " + resource->id() + "`"});
  std::string address;
  for (const v1::NodeStatus& n : (*client)->first_status().nodes())
    if (n.id() == resource->holder()) address = n.address();
  if (address.empty() || resource->port() == 0)
    return say({ExitCode::kFailed, "connect " + resource->id() + ": the cluster file names no address or port for it on " + resource->holder()});
  const std::vector<std::string> words = command_of(*resource, address, options);
  if (words.empty()) return say({ExitCode::kFailed, "connect " + resource->id() + ": no client is known for " + resource->engine() + "; its holder is " + address + ":" + std::to_string(resource->port())});
  if (options.print) {
    std::string line;
    for (const std::string& word : words) line += (line.empty() ? "" : " ") + quoted(word);
    print(clean(line) + "\n");
    return ExitCode::kOk;
  }
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  return say({ExitCode::kFailed, "run " + words[0] + ": " + std::strerror(errno) + "; --print shows the command"});
}

}  // namespace

void add_connect(CLI::App& app, const Globals& globals, ExitCode& code) {
  auto options = std::make_shared<ConnectOptions>();
  CLI::App* command = app.add_subcommand("connect", "Run the engine's client on the node that holds the resource: psql for PostgreSQL, redis-cli for Redis. Passwords as the client takes them (~/.pgpass, PGPASSWORD, REDISCLI_AUTH).");
  command->add_option("resource", options->resource, "Its name, as in `daarionctl resources`")->required();
  command->add_option("-U,--user", options->user, "The engine's user");
  command->add_option("-d,--database", options->database, "The engine's database");
  command->add_flag("--print", options->print, "Print the command instead of running it");
  command->add_option("args", options->rest, "More arguments of the client, after --");
  command->callback([options, &globals, &code] { code = run_connect(globals, *options); });
}

}  // namespace daarion
