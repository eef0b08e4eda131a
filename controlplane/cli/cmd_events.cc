// events (watch) and replay: the log as it was written, and the proof that its fold is what this node believes.
#include <CLI/CLI.hpp>

#include <unistd.h>

#include <thread>

#include "controlplane/api/event_line.h"
#include "controlplane/cli/admin_client.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"

namespace daarion {
namespace {

constexpr std::uint64_t kNewest = 20;  // events shown when nobody says from where

struct EventsOptions {
  std::uint64_t from = 0, to = 0;
  bool follow = false;
};

/// Follows through the end of a server: another one continues at the next sequence.
ExitCode events(const Globals& globals, const EventsOptions& options) {
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  const std::uint64_t applied = (*client)->first_status().sequence();
  std::uint64_t next = options.from != 0 ? options.from : applied > kNewest ? applied - kNewest + 1 : 1;
  if (options.from == 0 && applied == 0 && !options.follow) return say({ExitCode::kFailed, "no event yet: this node has folded nothing of the log; see `daarionctl status`"});
  for (;;) {
    v1::WatchEventsRequest request;
    request.set_from(next);
    request.set_follow(options.follow);
    const auto ended = (*client)->watch(request, AdminClient::kNoEnd, [&](const v1::EventView& event) {
      if (options.to != 0 && event.sequence() > options.to) return false;
      next = event.sequence() + 1;
      if (!print_one_of_many(globals, event)) print(event_line(event));
      return options.to == 0 || event.sequence() < options.to;
    });
    if (ended && (!options.follow || (options.to != 0 && next > options.to))) return ExitCode::kOk;
    if (!ended && (!options.follow || ended.error().code != ExitCode::kUnreachable)) return say(ended.error());
    std::fprintf(stderr, "daarionctl: %s ended the stream; looking for another node\n", (*client)->server().c_str());
    while (!(*client)->reconnect()) std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

ExitCode replay(const Globals& globals, const EventsOptions& options) {
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  const bool terminal = isatty(STDERR_FILENO);
  v1::ReplayRequest request;
  request.set_to(options.to);
  const auto done = (*client)->replay(request, [&](const v1::ReplayProgress& p) {
    if (terminal) std::fprintf(stderr, "\r%llu of %llu events", static_cast<unsigned long long>(p.sequence()), static_cast<unsigned long long>(p.head()));
  });
  if (terminal) std::fprintf(stderr, "\r\033[K");
  if (!done) return say(done.error());
  const bool compared = !done->live_digest().empty();
  if (!print_data(globals, *done)) {
    print("folded events 1 to " + std::to_string(done->sequence()) + " from nothing\ndigest  " + done->digest() + "\nchain   " + done->chain() + "\n");
    print(!compared       ? "nothing to compare it with: " + (*client)->first_status().node() + " has folded further since; leave --to away to compare\n"
          : done->equal() ? "equal to what " + (*client)->first_status().node() + " folded live\n"
                          : "DIFFERS from what " + (*client)->first_status().node() + " folded live: " + done->live_digest() +
                                "\nHINT: stop daariond there, move its state folder away, start it: it folds the log again\n");
  }
  return compared && !done->equal() ? ExitCode::kFailed : ExitCode::kOk;
}

}  // namespace

void add_events(CLI::App& app, const Globals& globals, ExitCode& code) {
  auto options = std::make_shared<EventsOptions>();
  CLI::App* command = app.add_subcommand("events", "The log: every decision, with who and why. The newest 20, or from a sequence on. Also called watch.");
  command->alias("watch");
  command->add_option("--from", options->from, "The first sequence to show")->type_name("SEQ")->check(wrong_sequence);
  command->add_option("--to", options->to, "The last one; with --follow it ends there")->type_name("SEQ")->check(wrong_sequence);
  command->add_flag("-f,--follow", options->follow, "Go on as events come; another node is asked when one goes away");
  command->callback([options, &globals, &code] { code = events(globals, *options); });

  auto to = std::make_shared<EventsOptions>();
  CLI::App* again = app.add_subcommand("replay", "Fold the log from its first event again and compare with what the node believes. Exit code 1 if they differ.");
  again->add_option("--to", to->to, "The last sequence to fold; 0: what the node has folded")->type_name("SEQ")->check(wrong_sequence);
  again->callback([to, &globals, &code] { code = replay(globals, *to); });
}

}  // namespace daarion
