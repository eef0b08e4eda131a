// What changes the cluster: each appends one event, with who asked and why, and by default waits until its outcome is in the log.
#include <pwd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "controlplane/api/event_line.h"
#include "controlplane/api/json.h"
#include "controlplane/cli/admin_client.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"

namespace daarion {
namespace {

/// A script without a login has no $USER, and the log is to say who it was all the same.
std::string caller() {
  if (const char* user = std::getenv("USER"); user != nullptr && *user != '\0') return user;
  const passwd* entry = getpwuid(geteuid());
  return entry != nullptr ? entry->pw_name : "uid " + std::to_string(geteuid());
}

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr auto kLookAgain = std::chrono::milliseconds(200);

struct Change {
  std::string name;                // of the resource or node; empty: the cluster
  std::string to, from, holder;
  std::vector<std::string> voters;
  std::string others_off;
  bool yes = false;
  bool allow_data_loss = false;
  std::string reason, request_id, actor;
  std::uint64_t expect_seq = 0;
  bool dry_run = false;
  bool wait = true;

  template <class Request>
  Request request() const {
    Request out;
    v1::Intent& intent = *out.mutable_intent();
    intent.set_reason(reason);
    intent.set_expected_sequence(expect_seq);
    intent.set_request_id(request_id);
    intent.set_dry_run(dry_run);
    intent.set_actor(actor.empty() ? caller() : actor);
    return out;
  }
};

enum class Awaits { kFold, kPromotion, kReplica };

/// How the wait ended: with the event that is the outcome, or without.
struct Outcome {
  std::optional<v1::EventView> event;
  ExitCode code = ExitCode::kOk;
  std::string line;                // for people
};

/// What an event of the resource ends the wait with; nothing: it goes on.
using Ends = std::function<std::optional<Outcome>(const v1::EventView&)>;

std::string took_since(Clock::time_point begin) { return ms_text(std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count()); }

/// Follows the log from the request on until an event of its resource ends the wait. Another node is asked when the server goes away: it may be the
/// very node that is switched from.
Outcome await_event(AdminClient& client, const v1::Mutation& asked, Clock::time_point begin, Clock::time_point until, const std::function<void(const v1::EventView&)>& shown,
                    const Ends& ends) {
  std::optional<Outcome> out;
  std::uint64_t next = asked.sequence() + 1;
  while (Clock::now() < until) {
    v1::WatchEventsRequest request;
    request.set_from(next);
    request.set_follow(true);
    const auto ended = client.watch(request, until, [&](const v1::EventView& event) {
      next = event.sequence() + 1;
      if (event.resource() != asked.event().resource()) return true;
      shown(event);
      out = ends(event);
      return !out;
    });
    if (out) return *out;
    if (!ended && ended.error().code == ExitCode::kTimedOut) break;
    if (!ended && ended.error().code != ExitCode::kUnreachable) return {.event = {}, .code = ended.error().code, .line = ended.error().message};
    std::this_thread::sleep_for(kLookAgain);
    (void)client.reconnect();
  }
  return {.event = {}, .code = ExitCode::kTimedOut,
          .line = "no outcome of event " + std::to_string(asked.sequence()) + " in " + took_since(begin) + ": it may still come; see `daarionctl events --from " +
                  std::to_string(asked.sequence()) + "` and `daarionctl status`"};
}

/// The end of the first promotion that is decided, or what an engine's own election, or a refusal, was seen to come to.
Ends promotion_ends(const Change& change, const v1::Mutation& asked, Clock::time_point begin) {
  return [&change, &asked, begin, epoch = std::uint64_t{0}](const v1::EventView& event) mutable -> std::optional<Outcome> {
    const std::string& resource = asked.event().resource();
    const bool observed = event.type() == "ResourceObserved" && (event.kind() == "failed" || event.cause() == asked.event().id());
    if (event.type() == "PromotionDecided" && event.kind() != "keep") epoch = event.epoch();
    const bool ended = epoch != 0 && event.epoch() == epoch && (event.type() == "PromotionCompleted" || event.type() == "PromotionFailed");
    if (!observed && !ended) return std::nullopt;
    const std::string holder = observed ? event.to() : event.node();
    if (observed && event.kind() == "failed") return Outcome{event, ExitCode::kFailed, event.reason() + "; see `daarionctl resource " + resource + "`"};
    if (event.type() == "PromotionFailed") return Outcome{event, ExitCode::kFailed, "the promotion of " + holder + " failed: " + event.reason() + "; see `daarionctl why " + resource + "`"};
    if (!change.to.empty() && holder != asked.event().to())
      return Outcome{event, ExitCode::kFailed, holder + " holds " + resource + " now, not " + asked.event().to() + "; see `daarionctl " + (observed ? "resource " : "why ") + resource + "`"};
    const std::string after = ", " + took_since(begin) + " after the request";
    if (observed) return Outcome{event, ExitCode::kOk, holder + " is the primary of " + resource + after};
    return Outcome{event, ExitCode::kOk, holder + " holds " + resource + " since epoch " + std::to_string(event.epoch()) + after};
  };
}

/// The replica's answer that names the request as its cause, or another primary, which makes the request void.
Ends replica_ends(const v1::Mutation& asked, Clock::time_point begin) {
  return [&asked, begin](const v1::EventView& event) -> std::optional<Outcome> {
    const std::string& resource = asked.event().resource();
    const bool answers = event.cause() == asked.event().id();
    const std::string after = took_since(begin) + " after the request";
    if (answers && event.type() == "ReplicaRejoined") return Outcome{event, ExitCode::kOk, event.node() + " has its data of " + resource + " anew, " + after};
    if (answers && event.type() == "ReplicaRestarted") return Outcome{event, ExitCode::kOk, event.node() + " runs its engine of " + resource + " again, " + after};
    if (event.type() == "PromotionDecided" && event.epoch() > asked.event().epoch())
      return Outcome{event, ExitCode::kFailed, "another primary was decided before it was done, and the request is void: see `daarionctl resource " + resource + "`, and ask again if it is still wanted"};
    return std::nullopt;
  };
}

/// Until the server has folded its own event: what is asked next then sees it.
Outcome await_fold(AdminClient& client, const v1::Mutation& asked, Clock::time_point until) {
  for (;;) {
    const auto status = client.call(v1::GetStatusRequest{});
    if (status && status->sequence() >= asked.sequence()) return {.event = asked.event(), .code = ExitCode::kOk, .line = ""};
    if (Clock::now() + kLookAgain > until)
      return {.event = {}, .code = ExitCode::kTimedOut, .line = "event " + std::to_string(asked.sequence()) + " is stored, but not folded in time; see `daarionctl status`"};
    std::this_thread::sleep_for(kLookAgain);
    if (!status) (void)client.reconnect();
  }
}

template <class Request>
ExitCode ask(const Globals& globals, const Change& change, const Request& request, Awaits awaits = Awaits::kFold) {
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  const bool table = globals.form == "table";
  const auto begin = Clock::now();
  const auto until = begin + std::chrono::milliseconds(std::llround(globals.timeout_s * 1000));
  const auto asked = (*client)->call(request);
  if (!asked) return say(asked.error());
  if (table) {
    if (asked->dry_run()) print("dry run, nothing is appended; it would be:\n");
    print(event_line(asked->event()) + clean(asked->outcome()) + "\n");
  }
  Outcome outcome;
  const bool wait = change.wait && !asked->dry_run();
  const auto shown = [&](const v1::EventView& event) {
    if (table) print(event_line(event));
  };
  if (wait && awaits == Awaits::kFold) outcome = await_fold(**client, *asked, until);
  else if (wait) outcome = await_event(**client, *asked, begin, until, shown, awaits == Awaits::kReplica ? replica_ends(*asked, begin) : promotion_ends(change, *asked, begin));
  if (!table) {
    Json out = Json::parse(to_json(*asked));
    out["waited"] = wait;
    out["result"] = outcome.event ? Json::parse(to_json(*outcome.event)) : Json();
    print_data(globals, out.dump());
  }
  if (outcome.code != ExitCode::kOk) return say({outcome.code, outcome.line});
  if (table && !outcome.line.empty()) print(clean(outcome.line) + "\n");
  return ExitCode::kOk;
}

CLI::App* add(CLI::App& app, const std::shared_ptr<Change>& change, const char* name, const char* help, const char* waits) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_option("--reason", change->reason, "Why; the log keeps it")->required()->type_name("TEXT");
  command->add_option("--expect-seq", change->expect_seq, "Only if the log is still at this sequence; else exit code 6")->type_name("SEQ")->check(wrong_sequence);
  command->add_option("--request-id", change->request_id, "The same id again does nothing new: for scripts that repeat")->type_name("ID");
  command->add_option("--actor", change->actor, "Who asks; default: $USER, else the user of this process")->type_name("NAME");
  command->add_flag("--dry-run", change->dry_run, "Say what would happen; append nothing");
  command->add_flag("--wait,!--no-wait", change->wait, waits);
  return command;
}

/// A wrong word is worse than a late one: whoever gives it says again whom it is of, after reading what it does. `whom`: of the answer to a look.
template <class Request>
ExitCode give_word(const Globals& globals, const Change& change, const Request& request, const char* verb,
                   const std::function<std::string(const v1::Mutation&)>& whom, const char* state) {
  if (!change.yes && !change.dry_run) {
    if (isatty(STDIN_FILENO) == 0)
      return say({ExitCode::kUsage, std::string(verb) + " asks before it acts and there is no terminal: give --yes, or look first with --dry-run"});
    auto client = AdminClient::connect(globals);
    if (!client) return say(client.error());
    Request look = request;
    look.mutable_intent()->set_dry_run(true);
    const auto asked = (*client)->call(look);
    if (!asked) return say(asked.error());
    const std::string name = clean(whom(*asked));
    std::fprintf(stderr, "You give your word that %s %s.\n%s.\nType %s to go on: ", name.c_str(), state, clean(asked->outcome()).c_str(), name.c_str());
    std::string typed;
    std::getline(std::cin, typed);
    if (typed != name) return say({ExitCode::kFailed, "not confirmed: nothing was done"});
  }
  return ask(globals, change, request);
}

ExitCode confirm_fencing(const Globals& globals, const Change& change) {
  auto request = change.request<v1::ConfirmFencingRequest>();
  request.set_resource(change.name);
  request.set_holder(change.holder);
  return give_word(globals, change, request, "confirm-fencing", [](const v1::Mutation& asked) { return asked.event().to(); },
                   "is off, or can reach neither its disk nor its clients, and stays so");
}

ExitCode grant_override(const Globals& globals, const Change& change) {
  auto request = change.request<v1::GrantOverrideRequest>();
  for (const std::string& voter : change.voters) request.add_voters(voter);
  request.set_others_off(change.others_off);
  return give_word(globals, change, request, "override", [](const v1::Mutation& asked) { return asked.event().to(); }, "are off for good: nothing of them runs, or will be started as it was");
}

constexpr const char* kWaitsForPromotion = "Wait until the promotion completed or failed (the default), at most --timeout; exit code 7 if neither is seen";
constexpr const char* kWaitsForCopy = "Wait until the copy is there (the default), at most --timeout; exit code 7 if it is not: it goes on";
constexpr const char* kWaitsForRestart = "Wait until the engine runs again (the default), at most --timeout; exit code 7 if it does not";
constexpr const char* kWaitsForFold = "Wait until the node has folded the event (the default)";

template <class Request>
void add_for_node(CLI::App& app, const Globals& globals, ExitCode& code, const char* name, const char* help) {
  auto change = std::make_shared<Change>();
  CLI::App* command = add(app, change, name, help, kWaitsForFold);
  command->add_option("node", change->name, "Its name, as in `daarionctl nodes`")->required();
  command->callback([change, &globals, &code] {
    Request request = change->request<Request>();
    request.set_node(change->name);
    code = ask(globals, *change, request);
  });
}

/// What a replica is asked for, and answers in the log. `whose`: of the node, for the help.
template <class Request>
CLI::App* add_for_replica(CLI::App& app, const Globals& globals, ExitCode& code, const char* name, const char* help, const char* waits, const char* whose) {
  auto change = std::make_shared<Change>();
  CLI::App* command = add(app, change, name, help, waits);
  command->add_option("resource", change->name, "Its name, as in `daarionctl resources`")->required();
  command->add_option("node", change->to, whose)->required()->type_name("NODE");
  command->callback([change, &globals, &code] {
    Request request = change->request<Request>();
    request.set_resource(change->name);
    request.set_node(change->to);
    code = ask(globals, *change, request, Awaits::kReplica);
  });
  return command;
}

void add_for_resource(CLI::App& app, const Globals& globals, ExitCode& code, const char* name, const char* help, bool pause) {
  auto change = std::make_shared<Change>();
  CLI::App* command = add(app, change, name, help, kWaitsForFold);
  command->add_option("resource", change->name, "Only this resource; default: the cluster");
  command->callback([change, pause, &globals, &code] {
    const auto fill = [&](auto request) {
      request.set_resource(change->name);
      return ask(globals, *change, request);
    };
    code = pause ? fill(change->request<v1::PauseRequest>()) : fill(change->request<v1::ResumeRequest>());
  });
}

}  // namespace

void add_change(CLI::App& app, const Globals& globals, ExitCode& code) {
  auto planned = std::make_shared<Change>();
  CLI::App* switchover = add(app, planned, "switchover", "Hand a resource over, planned: the holder stops cleanly, another node is promoted, nothing is lost.", kWaitsForPromotion);
  switchover->add_option("resource", planned->name, "Its name, as in `daarionctl resources`")->required();
  switchover->add_option("--to", planned->to, "Who is promoted; default: the best candidate")->type_name("NODE");
  switchover->add_option("--from", planned->from, "Only if this node is the holder; else exit code 6")->type_name("NODE");
  switchover->callback([planned, &globals, &code] {
    auto request = planned->request<v1::SwitchoverRequest>();
    request.set_resource(planned->name);
    request.set_to(planned->to);
    request.set_from(planned->from);
    code = ask(globals, *planned, request, Awaits::kPromotion);
  });

  auto forced = std::make_shared<Change>();
  CLI::App* failover = add(app, forced, "failover", "Promote another node also without the holder's help. It waits for the holder's lease to end; two nodes never write.", kWaitsForPromotion);
  failover->add_option("resource", forced->name, "Its name, as in `daarionctl resources`")->required();
  failover->add_option("--to", forced->to, "Who is promoted; default: the best candidate")->type_name("NODE");
  failover->add_flag("--allow-data-loss", forced->allow_data_loss, "Also a candidate that lacks more of the data than the limits allow, or something that its data need");
  failover->callback([forced, &globals, &code] {
    auto request = forced->request<v1::FailoverRequest>();
    request.set_resource(forced->name);
    request.set_to(forced->to);
    request.set_allow_data_loss(forced->allow_data_loss);
    code = ask(globals, *forced, request, Awaits::kPromotion);
  });

  add_for_replica<v1::RejoinRequest>(app, globals, code, "rejoin", "Have a replica's data copied anew from the holder, whole. Needed only where somebody doubts them: what has parted is led back without it.",
                                     kWaitsForCopy, "Whose data; not the holder's")
      ->footer("The replica's engine stands still until the copy is there, and cannot be promoted; what it had is kept until then. A large copy takes longer than\n"
               "the usual --timeout: it goes on, and ReplicaRejoined in the log names the request. If another node is promoted before it began, nothing is done.");
  add_for_replica<v1::RestartRequest>(app, globals, code, "restart", "Stop and start a replica's engine, as after a setting that needs it.", kWaitsForRestart,
                                      "Whose engine; not the holder's: after a switchover that one starts anew as a replica's")
      ->footer("`status` and `resource` show whose restart is pending. Settings that need no restart: see \"Settings, reload and restart\" in docs/operator-guide.md.\n"
               "If another node is promoted before it began, nothing is done.");

  add_for_resource(app, globals, code, "pause", "No automatic failover until resume; holders keep writing.", true);
  add_for_resource(app, globals, code, "resume", "Automatic failover again.", false);
  auto word = std::make_shared<Change>();
  CLI::App* confirm = add(app, word, "confirm-fencing", "Give your word that a holder that was paused and is lost writes no more, so that another node may be promoted. A wrong word makes two nodes write.", kWaitsForFold);
  confirm->add_option("resource", word->name, "Its name, as in `daarionctl resources`")->required();
  confirm->add_option("--holder", word->holder, "Whom it is said of; another one than is waited for: exit code 6")->required()->type_name("NODE");
  confirm->add_flag("--yes", word->yes, "Do not ask again");
  confirm->footer("Needed only where `status` waits for it: promises to a paused holder have no end, and it cannot be asked any more. Make sure first: power\n"
                  "it off, or cut its disk and its clients off. The promises end one lease later. A holder that was not paused needs no word.");
  confirm->callback([word, &globals, &code] { code = confirm_fencing(globals, *word); });
  auto granted = std::make_shared<Change>();
  CLI::App* override_ = add(app, granted, "override", "Go on with the voters that are left, when a majority of them is gone for good. A wrong word makes two nodes write.", kWaitsForFold);
  override_->add_option("--voters", granted->voters, "Those that are left: every voter that is heard")->required()->delimiter(',')->type_name("NODE[,NODE]");
  override_->add_option("--others-off", granted->others_off, "How the others were made sure to be off; the log keeps it")->required()->type_name("TEXT");
  override_->add_flag("--yes", granted->yes, "Do not ask again");
  override_->footer("Needed only where disks of a majority are gone, or their hosts: of three voters, two. Hosts that come back by themselves need nothing. The log must\n"
                    "take an event first: see \"A majority of the voters is gone\" in docs/operator-guide.md. One lease later those that are left decide, and new\n"
                    "installations of the others join them one by one.");
  override_->callback([granted, &globals, &code] { code = grant_override(globals, *granted); });
  add_for_node<v1::DrainRequest>(app, globals, code, "drain", "The node is not promoted any more; what it holds stays until a switchover, what its nats-server leads moves.");
  add_for_node<v1::UndrainRequest>(app, globals, code, "undrain", "The node may be promoted again; also ends retire.");
  add_for_node<v1::RetireRequest>(app, globals, code, "retire", "The node is gone for good: what others keep for it goes (routes, mirrors, an engine's peer). Refused while it votes or holds anything.");
}

}  // namespace daarion
