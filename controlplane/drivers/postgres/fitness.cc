#include "controlplane/drivers/postgres/fitness.h"

#include <algorithm>

#include "controlplane/drivers/words.h"

namespace daarion::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Packages and settings are changed by people: a failover half a minute after such a change is nobody's plan. A round costs some ms per
// database.
constexpr seconds kRoundEvery{30};
// A start is when leases change hands: nothing is looked at beside it.
constexpr seconds kFirstRoundAfter{2};
constexpr milliseconds kPieceLimit{150};   // to connect, and again to be answered; as of every other look
constexpr milliseconds kProgramLimit{1000};  // it prints one line; longer means that the disk hangs
// A busy machine does not answer in time now and then; what is broken shall not be asked for ever, and other pieces wait behind it.
constexpr seconds kAskAgain{1};
constexpr int kMostAsked = 5;
// One for each thing that is missing. More is another installation altogether, and the first ones say so.
constexpr std::size_t kMaxLacks = 16;

/// A query of those of `libraries` (a query of one column, lib) that the server would not find, as it looks for them: by path, or in its own
/// folder, with or without the suffix. Names without a folder go by dynamic_library_path, and are looked for only if it is as it comes.
std::string missing_libraries(const std::string& libraries) {
  return "SELECT lib FROM (" + libraries +
         ") l, LATERAL (SELECT CASE WHEN lib LIKE '$libdir/%' THEN own || substr(lib, 8) WHEN lib LIKE '%/%' THEN lib ELSE own || '/' || lib END AS path "
         "FROM (SELECT setting AS own FROM pg_config WHERE name = 'PKGLIBDIR') o) p "
         "WHERE lib <> '' AND (lib LIKE '%/%' OR current_setting('dynamic_library_path') = '$libdir') "
         "AND (pg_stat_file(path, true)).size IS NULL AND (pg_stat_file(path || '.so', true)).size IS NULL";
}

const std::string kServerQuestion =
    "SELECT 'database', datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate "
    "UNION ALL SELECT 'restart', name FROM pg_settings WHERE pending_restart "
    "UNION ALL SELECT 'library', lib FROM (" +
    missing_libraries("SELECT trim(both ' \"' from unnest(string_to_array(current_setting('shared_preload_libraries'), ','))) AS lib") + ") m ORDER BY 1, 2";

const std::string kDatabaseQuestion =
    "SELECT 'extension ' || extname FROM pg_extension e WHERE NOT EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = e.extname) "
    "UNION ALL SELECT 'library ' || lib FROM (" +
    missing_libraries("SELECT DISTINCT probin AS lib FROM pg_proc WHERE probin IS NOT NULL") + ") m ORDER BY 1";

Result<Rows> ask_once(Target server, const std::string& database, const std::string& question) {
  server.database = database;
  auto c = Connection::open(server, kPieceLimit);
  if (!c) return tl::unexpected(c.error());
  return (*c)->query(question, kPieceLimit);
}

}  // namespace

void Fitness::step(std::uint64_t incarnation, const Target& server, const Tools& tools, const std::string& data_dir) {
  const auto now = std::chrono::steady_clock::now();
  if (incarnation_ != incarnation) {
    incarnation_ = incarnation;
    restart_for_.clear();
    left_.clear();
    next_round_ = now + kFirstRoundAfter;
  }
  if (left_.empty()) {
    if (now < next_round_) return;
    next_round_ = now + kRoundEvery;
    left_ = {{.piece = Piece::kPrograms}, {.piece = Piece::kServer}};
    next_piece_ = now;
  }
  if (now < next_piece_) return;
  Next next = left_.front();
  left_.pop_front();
  const bool answered = next.piece == Piece::kPrograms ? look_at_programs(tools, data_dir)
                        : next.piece == Piece::kServer ? look_at_server(server)
                                                       : look_at_database(server, next.database);
  if (answered || ++next.asked == kMostAsked) return;
  left_.push_front(std::move(next));
  next_piece_ = now + kAskAgain;
}

bool Fitness::look_at_programs(const Tools& tools, const std::string& data_dir) {
  const std::uint64_t wanted = major_of(data_dir);
  auto ran = run_tool({.argv = {tools.folder + "/postgres", "--version"}, .environment = tools.environment(), .user = tools.user, .limit = kProgramLimit});
  if (!ran || wanted == 0) return false;  // a busy machine says nothing about its packages
  const std::string before = "(PostgreSQL) ";
  const std::size_t at = ran->output.find(before);
  const std::uint64_t found = at == std::string::npos ? 0 : number_of(ran->output.substr(at + before.size()));
  const std::string name = "the programs of PostgreSQL " + std::to_string(wanted) + " in " + tools.folder;
  if (ran->exit_code != 0) programs_ = name + ": " + cause_in(ran->errors);
  else if (found != wanted) programs_ = name + ": those are of " + std::to_string(found);
  else programs_.clear();
  return true;
}

bool Fitness::look_at_server(const Target& server) {
  const auto rows = ask_once(server, "postgres", kServerQuestion);
  if (!rows) return false;
  preloaded_.clear();
  restart_for_.clear();
  std::map<std::string, std::vector<std::string>> known;
  known.swap(databases_);  // of those that are no more, nothing is missing
  for (const Row& row : *rows) {
    if (row[0] == "restart") restart_for_.push_back(row[1]);
    if (row[0] == "library") preloaded_.push_back("library " + row[1] + " (shared_preload_libraries)");
    if (row[0] != "database") continue;
    databases_[row[1]] = std::move(known[row[1]]);
    left_.push_back({.piece = Piece::kDatabase, .database = row[1]});
  }
  return true;
}

bool Fitness::look_at_database(const Target& server, const std::string& database) {
  const auto rows = ask_once(server, database, kDatabaseQuestion);
  if (!rows) return false;
  std::vector<std::string>& missing = databases_[database];
  missing.clear();
  for (const Row& row : *rows) missing.push_back(row[0] + " (database " + database + ")");
  return true;
}

std::vector<std::string> Fitness::lacks() const {
  std::vector<std::string> out;
  if (!programs_.empty()) out.push_back(programs_);
  out.insert(out.end(), preloaded_.begin(), preloaded_.end());
  for (const auto& [database, missing] : databases_) out.insert(out.end(), missing.begin(), missing.end());
  if (out.size() > kMaxLacks) out.resize(kMaxLacks);
  return out;
}

std::vector<std::string> Fitness::problems() const {
  if (restart_for_.empty()) return {};
  return {"a restart of PostgreSQL is pending, for " + joined(restart_for_)};
}

}  // namespace daarion::postgres
