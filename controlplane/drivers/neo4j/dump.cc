#include "controlplane/drivers/neo4j/dump.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/neo4j/picture.h"

namespace daarion::neo4j {
namespace {

constexpr std::size_t kMostCause = 240;  // bytes of a command's own words in an event

std::int64_t wall_ms() { return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }

/// Which period a moment is in.
std::int64_t period_of(const DumpPlan& plan, std::int64_t ms) {
  const std::int64_t every = to_ms(plan.every), since = ms - to_ms(plan.at);
  return since >= 0 ? since / every : -1;
}

std::string span_text(Duration span) {
  const std::int64_t minutes = to_ms(span) / 60'000;
  return minutes < 120 ? std::to_string(minutes) + " min" : std::to_string(minutes / 60) + " h";
}

/// What the run wrote, where that is told; empty: well.
std::string judge_file(const DumpPlan& plan, std::int64_t begun) {
  if (plan.file.empty()) return "";
  struct stat at {};
  if (stat(plan.file.c_str(), &at) != 0) return "it ended well, and " + plan.file + " is not there";
  if (at.st_size == 0) return "it ended well, and " + plan.file + " is empty";
  // A second of grace: the clock of files is coarser.
  if (at.st_mtim.tv_sec * 1000 + at.st_mtim.tv_nsec / 1'000'000 + 1000 < begun) return "it ended well, and " + plan.file + " is of " +
      utc_text(at.st_mtim.tv_sec * 1000);
  return "";
}

/// Runs it to its end. Returns what went wrong; empty: nothing.
std::string run_command(const DumpPlan& plan, const std::vector<std::string>& environment, std::int64_t begun) {
  ToolCommand command;
  std::istringstream words(plan.exec);
  for (std::string word; words >> word;) command.argv.push_back(word);
  if (command.argv.empty()) return "it has no name";
  command.environment = environment;
  command.environment.push_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  command.limit = plan.timeout;
  auto user = find_user("");
  if (!user) return user.error().message;
  command.user = std::move(*user);
  const auto ran = run_tool(command);
  if (!ran) return ran.error().message;
  if (ran->exit_code == 0) return judge_file(plan, begun);
  const std::string cause = cause_in(ran->errors);
  return "exit code " + std::to_string(ran->exit_code) + (cause.empty() ? "" : "; " + cause);
}

}  // namespace

std::optional<DumpPlan> dump_plan(const std::map<std::string, std::string>& declared) {
  DumpPlan plan;
  const auto text = [&](const char* key) {
    const auto at = declared.find(key);
    return at == declared.end() ? std::string() : at->second;
  };
  const auto ms = [&](const char* key, Duration& to) {
    if (const std::string value = text(key); !value.empty()) to = std::chrono::milliseconds(std::strtoll(value.c_str(), nullptr, 10));
  };
  plan.exec = text("dump_exec");
  plan.file = text("dump_file");
  ms("dump_every_ms", plan.every);
  ms("dump_at_ms", plan.at);
  ms("dump_timeout_ms", plan.timeout);
  ms("dump_max_age_ms", plan.max_age);
  if (plan.exec.empty() || plan.every <= Duration{}) return std::nullopt;
  return plan;
}

std::string to_text(const DumpRecord& r) {
  return nlohmann::json{{"since_ms", r.since}, {"begun_ms", r.begun}, {"ended_ms", r.ended}, {"succeeded_ms", r.succeeded}, {"error", r.error}}.dump() + "\n";
}

DumpRecord dump_record(const std::string& text) {
  const auto all = nlohmann::json::parse(text, nullptr, false);
  DumpRecord out;
  if (!all.is_object()) return out;
  for (const auto& [key, to] : {std::pair{"since_ms", &out.since}, {"begun_ms", &out.begun}, {"ended_ms", &out.ended}, {"succeeded_ms", &out.succeeded}})
    if (all.contains(key) && all[key].is_number_integer()) *to = all[key].get<std::int64_t>();
  if (all.contains("error") && all["error"].is_string()) out.error = all["error"].get<std::string>();
  return out;
}

bool dump_due(const DumpPlan& plan, const DumpRecord& record, std::int64_t now) {
  const std::int64_t every = to_ms(plan.every), period = period_of(plan, now);
  const std::int64_t into = now - to_ms(plan.at) - period * every;
  // An hour, of short periods a quarter: what is later than that was missed.
  if (period < 0 || into > std::min<std::int64_t>(every / 4, 3'600'000)) return false;
  return period > period_of(plan, std::max(record.begun, record.since));
}

std::string dump_trouble(const DumpPlan& plan, const DumpRecord& record, bool runs, std::int64_t now) {
  const bool is_old = now - std::max(record.succeeded, record.since) > to_ms(plan.max_age);
  // Of its time and not its age: what is said is an event, and an age would be another every minute.
  const std::string old = !is_old ? "" : record.succeeded == 0 ? "no dump was made since " + utc_text(record.since)
      : "the newest dump is of " + utc_text(record.succeeded) + ", older than " + span_text(plan.max_age);
  std::string newest;
  if (!runs && record.begun > 0 && record.ended < record.begun) newest = "the dump of " + utc_text(record.begun) +
      " was not seen to end: the daemon ended meanwhile";
  else if (!record.error.empty()) newest = "the dump of " + utc_text(record.begun) + " failed: " + record.error;
  return newest.empty() ? old : old.empty() ? newest : newest + "; " + old;
}

std::string utc_text(std::int64_t ms) {
  const std::time_t seconds = ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

struct Dumper::Shared {
  std::string folder;
  mutable std::mutex mutex;
  DumpRecord record;       // guarded by mutex
  bool runs = false;       // guarded by mutex
  std::string not_kept;    // guarded by mutex: why the record cannot be written

  /// Pre: the mutex is held.
  void keep() {
    const auto owner = find_user("");
    auto kept = owner ? make_folder(folder, 0700, *owner) : tl::unexpected(owner.error());
    if (kept) kept = write_file(folder + "/dump.json", to_text(record), 0600, *owner);
    not_kept = kept ? "" : "what came of dumps cannot be kept: " + kept.error().message;
  }
};

Dumper::Dumper(DumpPlan plan, std::string folder, std::vector<std::string> environment)
    : plan_(std::move(plan)), environment_(std::move(environment)), shared_(std::make_shared<Shared>()) {
  shared_->folder = std::move(folder);
  if (const auto text = read_file(shared_->folder + "/dump.json")) shared_->record = dump_record(*text);
}

Dumper::~Dumper() = default;

void Dumper::tick(bool may, std::int64_t now) {
  const std::lock_guard lock(shared_->mutex);
  if (shared_->record.since == 0) {
    shared_->record.since = now;
    shared_->keep();
  }
  // Without a record of its own a daemon that restarts would begin the same dump again.
  if (!may || shared_->runs || !dump_due(plan_, shared_->record, now)) return;
  shared_->record.begun = now;
  shared_->record.error.clear();
  shared_->keep();
  if (shared_->not_kept.empty()) run(now);
}

/// Pre: the mutex is held.
void Dumper::run(std::int64_t now) {
  shared_->runs = true;
  std::thread([plan = plan_, environment = environment_, shared = shared_, now] {
    const std::string error = run_command(plan, environment, now);
    const std::lock_guard lock(shared->mutex);
    shared->runs = false;
    shared->record.ended = std::max(wall_ms(), shared->record.begun);
    shared->record.error = plain_text(error, kMostCause);
    if (shared->record.error.empty()) shared->record.succeeded = shared->record.ended;
    shared->keep();
  }).detach();
}

bool Dumper::runs() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->runs;
}

DumpRecord Dumper::record() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->record;
}

std::string Dumper::trouble(std::int64_t now) const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->not_kept.empty() ? dump_trouble(plan_, shared_->record, shared_->runs, now) : shared_->not_kept;
}

}  // namespace daarion::neo4j
