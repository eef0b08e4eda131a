#include "controlplane/drivers/neo4j/client.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

namespace daarion::neo4j {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostText = 160;  // bytes of what a server says, in one message
constexpr std::size_t kMostName = 64;   // bytes of a name of its, or an address

constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string base64(const std::string& bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) three = three << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? kDigits[three >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

/// Up to the first sign that is none of its digits.
std::string from_base64(const std::string& text) {
  std::string out;
  std::uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    const char* digit = std::char_traits<char>::find(kDigits, 64, c);
    if (digit == nullptr) break;
    bits = bits << 6 | static_cast<std::uint32_t>(digit - kDigits);
    if ((have += 6) >= 8) out += static_cast<char>(bits >> (have -= 8) & 0xff);
  }
  return out;
}

/// A PackStream integer: one byte, or a marker and 1, 2, 4 or 8 bytes, the high one first.
std::optional<std::uint64_t> packed(const std::string& bytes, std::size_t at) {
  if (at >= bytes.size()) return std::nullopt;
  const auto marker = static_cast<unsigned char>(bytes[at]);
  if (marker < 0x80) return marker;
  if (marker < 0xc8 || marker > 0xcb) return std::nullopt;
  const std::size_t size = std::size_t{1} << (marker - 0xc8);
  if (at + size >= bytes.size()) return std::nullopt;
  std::uint64_t out = 0;
  for (std::size_t i = 1; i <= size; ++i) out = out << 8 | static_cast<unsigned char>(bytes[at + i]);
  return out;
}

/// A field that is missing, or of another type, is an answer that cannot be used: nothing is guessed from half of it.
Result<void> read(const std::string& text, const char* what, const std::function<void(const Json&)>& take) {
  const Json all = Json::parse(text, nullptr, false);
  if (all.is_discarded()) return fail(Remedy::kRetry, std::string("read ") + what + ": the answer is no JSON");
  try {
    take(all);
    return {};
  } catch (const std::exception& e) {
    return fail(Remedy::kRetry, std::string("read ") + what + ": " + plain_text(e.what(), kMostText));
  }
}

/// A column that this version does not have, or that is null, is the default: versions differ in them.
template <class T>
T given(const Json& at, const char* key, T otherwise) {
  const auto found = at.find(key);
  return found == at.end() || found->is_null() ? otherwise : found->get<T>();
}

/// The rows of a statement's result, each as an object by column.
std::vector<Json> rows_of(const Json& all) {
  const Json& result = all.at("results").at(0);
  const Json& columns = result.at("columns");
  std::vector<Json> out;
  for (const Json& one : result.at("data")) {
    const Json& row = one.at("row");
    if (row.size() != columns.size()) throw std::runtime_error("a row has another number of fields than there are columns");
    Json object = Json::object();
    for (std::size_t i = 0; i < row.size(); ++i) object[columns[i].get<std::string>()] = row[i];
    out.push_back(std::move(object));
  }
  return out;
}

std::string short_text(const std::string& text) { return plain_text(text, kMostText); }

/// "bolt://10.0.0.1:7687/" -> "10.0.0.1:7687".
std::string without_scheme(const std::string& uri) {
  const std::size_t scheme = uri.find("://");
  const std::string rest = scheme == std::string::npos ? uri : uri.substr(scheme + 3);
  return rest.substr(0, rest.find('/'));
}

std::string status_path(int status) { return "answer " + std::to_string(status); }

}  // namespace

Result<void> read_discovery(const std::string& text, Word& word) {
  return read(text, "GET /", [&](const Json& all) {
    const std::string version = all.at("neo4j_version").get<std::string>(), edition = all.at("neo4j_edition").get<std::string>();
    word.version = plain_text(version, kMostName);
    word.edition = plain_text(edition, kMostName);
    std::ranges::transform(word.edition, word.edition.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    word.bolt = plain_text(without_scheme(given<std::string>(all, "bolt_direct", "")), kMostName);
  });
}

Result<void> read_status(const std::string& text, Word& word) {
  return read(text, "GET /dbms/cluster/status", [&](const Json& all) {
    if (!all.is_array()) throw std::runtime_error("it is no list");
    std::map<std::string, Raft> rafts;
    for (const Json& one : all) {
      const Json& s = one.at("databaseStatus");
      Raft raft{.member = plain_text(s.at("memberId").get<std::string>(), kMostName), .leader = plain_text(given<std::string>(s, "leader", ""), kMostName),
          .voters = {}, .core = s.at("core").get<bool>()};
      for (const Json& voter : s.at("votingMembers")) raft.voters.insert(plain_text(voter.get<std::string>(), kMostName));
      // One of the published examples has the one name, the other the other.
      raft.healthy = given(s, "healthy", given(s, "isHealthy", true));
      rafts.emplace(plain_text(one.at("databaseName").get<std::string>(), kMostName), std::move(raft));
    }
    word.clustered = true;
    for (auto& [name, raft] : rafts) word.copies[name].raft = std::move(raft);
  });
}

Result<void> read_databases(const std::string& text, Word& word) {
  return read(text, "SHOW DATABASES", [&](const Json& all) {
    std::map<std::string, std::vector<Json>> rows;
    for (Json& row : rows_of(all)) rows[plain_text(row.at("name").get<std::string>(), kMostName)].push_back(std::move(row));
    std::map<std::string, Copy> copies;
    for (const auto& [name, of] : rows) {
      const auto known = word.copies.find(name);
      const std::string member = known == word.copies.end() || !known->second.raft ? "" : known->second.raft->member;
      const auto own = std::ranges::find_if(of, [&](const Json& row) { return !member.empty() && given<std::string>(row, "serverID", "") == member; });
      const auto here = own != of.end() ? own : std::ranges::find_if(of, [&](const Json& row) { return given<std::string>(row, "address", "") == word.bolt; });
      if (here == of.end() && word.clustered) {
        // Its raft says that it has one: which row is its own, this program does not see. Nothing is taken of another's.
        if (!member.empty()) word.error = "read SHOW DATABASES: no row of " + name + " has its server id (" + member + ") or its address (" + word.bolt + ")";
        continue;
      }
      const Json& row = here == of.end() ? of.front() : *here;
      Copy copy{.id = plain_text(given<std::string>(row, "databaseID", ""), kMostName), .role = given<std::string>(row, "role", ""),
          .kind = given<std::string>(row, "type", ""),
                .requested = short_text(row.at("requestedStatus").get<std::string>()), .current = short_text(row.at("currentStatus").get<std::string>()),
                .message = short_text(given<std::string>(row, "statusMessage", given<std::string>(row, "error", "")))};
      copy.writer = given(row, "writer", copy.role == "leader" || copy.role == "standalone");
      copy.is_default = given(row, "default", false);
      const auto transaction = row.find("lastCommittedTxn");
      if (transaction != row.end() && transaction->is_number_unsigned()) copy.transaction = transaction->get<std::uint64_t>();
      if (known != word.copies.end()) copy.raft = known->second.raft;
      copies.emplace(name, std::move(copy));
    }
    word.copies = std::move(copies);
  });
}

Result<void> read_servers(const std::string& text, Word& word) {
  return read(text, "SHOW SERVERS", [&](const Json& all) {
    std::vector<Server> servers;
    for (const Json& row : rows_of(all)) {
      const std::string name = plain_text(row.at("name").get<std::string>(), kMostName);
      servers.push_back({.id = plain_text(given<std::string>(row, "serverId", name), kMostName), .name = name,
                         .address = plain_text(given<std::string>(row, "address", ""), kMostName), .state = short_text(row.at("state").get<std::string>()),
                         .health = short_text(given<std::string>(row, "health", ""))});
    }
    word.servers = std::move(servers);
  });
}

std::optional<std::uint64_t> transaction_in(const std::string& text) {
  const Json all = Json::parse(text, nullptr, false);
  if (!all.is_object() || !all.contains("lastBookmarks") || !all["lastBookmarks"].is_array() || all["lastBookmarks"].size() != 1 ||
      !all["lastBookmarks"][0].is_string())
    return std::nullopt;
  const std::string bookmark = all["lastBookmarks"][0].get<std::string>();
  if (!bookmark.starts_with("FB:")) return std::nullopt;
  // A list of one structure's fields: the database's id (16 bytes), the transaction, a list that is empty.
  const std::string bytes = from_base64(bookmark.substr(3));
  constexpr std::size_t kId = 3;
  if (bytes.size() < kId + 16 || !bytes.starts_with("\x91\xcc\x10")) return std::nullopt;
  return packed(bytes, kId + 16);
}

std::string error_in(const std::string& text) {
  const Json all = Json::parse(text, nullptr, false);
  if (all.is_discarded()) return short_text(text);
  const auto errors = all.is_object() ? all.find("errors") : all.end();
  if (!all.is_object() || errors == all.end() || !errors->is_array() || errors->empty()) return "";
  const Json& first = errors->at(0);
  if (!first.is_object()) return short_text(first.dump());
  const auto word = [&](const char* key) { return first.contains(key) && first[key].is_string() ? first[key].get<std::string>() : std::string(); };
  return short_text(word("code") + ": " + word("message"));
}

Client::Client(Target target) : target_(std::move(target)), http_(target_.host, target_.port, true) {}

/// Errors: kRetry if no answer came or it is a 5xx, kFixInput if the password is refused. Any other status is an answer.
Result<Client::Answer> Client::ask(const HttpCall& call, Duration limit) {
  const std::string what = call.method + " " + call.path + " on " + target_.node.value + ": ";
  late_ = limit <= Duration{};
  if (late_) return fail(Remedy::kRetry, what + "no answer in time");
  HttpCall with = call;
  with.headers.emplace_back("Accept", "application/json");
  if (!target_.password.empty()) with.headers.emplace_back("Authorization", "Basic " + base64(target_.user + ":" + target_.password));
  HttpReply reply = http_.call(with, limit);
  late_ = reply.late;
  if (!reply.error.empty()) return fail(Remedy::kRetry, what + (reply.late ? "no answer in time" : "no answer (" + reply.error + ")"));
  const int status = reply.answer.status;
  const std::string error = error_in(reply.answer.body);
  if (status == 401 || status == 403)
    return fail(Remedy::kFixInput, "it refuses the password of " + target_.user + " (" + std::to_string(status) + (error.empty() ? "" : ", " + error) +
                                       "); NEO4J_USER and NEO4J_PASSWORD are to be the server's");
  if (status >= 500) return fail(Remedy::kRetry, what + status_path(status) + (error.empty() ? "" : ", " + error));
  return Answer{status, std::move(reply.answer.body)};
}

Result<std::string> Client::query(const std::string& database, const std::string& statement, Duration limit) {
  // Without access-mode a member may pass the statement on to the leader, and it would be the leader's word that comes back.
  auto done = ask({.method = "POST", .path = "/db/" + database + "/tx/commit", .body = Json{{"statements", {{{"statement", statement}}}}}.dump(),
                   .headers = {{"access-mode", "READ"}}},
                  limit);
  if (!done) return tl::unexpected(done.error());
  const std::string error = error_in(done->body);
  if (error.find("CredentialsExpired") != std::string::npos)
    return fail(Remedy::kFixInput, "the password of " + target_.user + " must be changed before it is used: ALTER CURRENT USER SET PASSWORD");
  if (!error.empty()) return fail(Remedy::kRetry, statement + " on " + target_.node.value + ": " + error);
  if (done->status != 200) return fail(Remedy::kRetry, statement + " on " + target_.node.value + ": " + status_path(done->status));
  return std::move(done->body);
}

Word Client::look(Duration limit) {
  const auto end = Clock::now() + limit;
  const auto left = [&] { return std::chrono::duration_cast<Duration>(end - Clock::now()); };
  Word word;
  word.node = target_.node;
  const auto stop = [&](const Error& error) {
    word.error = error.message;
    if (error.remedy == Remedy::kFixInput) word.reached = false;  // who cannot look sees nothing: another, whose password fits, sees more
    word.late = word.reached && late_;
    // Which of its queries ran out of time is chance, and another text would be another event.
    if (word.late) word.error = "GET / is answered, and what its databases are asked is not in time";
    return word;
  };
  auto root = ask({.path = "/"}, left());
  if (!root) return stop(root.error());
  if (auto done = read_discovery(root->body, word); !done)
    return stop({Remedy::kRetry, Effect::kNone, done.error().message + " (" + status_path(root->status) + "): it answers, and not as Neo4j does"});
  word.reached = true;
  auto status = ask({.path = "/dbms/cluster/status"}, left());
  if (!status) return stop(status.error());
  if (status->status == 200) {
    if (auto done = read_status(status->body, word); !done) return stop(done.error());
  } else if (status->status != 404) {
    return stop({Remedy::kRetry, Effect::kNone, "GET /dbms/cluster/status on " + target_.node.value + ": " + status_path(status->status)});
  }
  auto databases = query("system", "SHOW DATABASES YIELD *", left());
  if (!databases) return stop(databases.error());
  if (auto done = read_databases(*databases, word); !done) return stop(done.error());
  if (word.clustered && !word.version.starts_with("4.")) {
    auto servers = query("system", "SHOW SERVERS YIELD *", left());
    auto done = servers ? read_servers(*servers, word) : tl::unexpected(servers.error());
    if (!done) return stop(done.error());
  }
  // A database that is said to be online, and answers nothing, is not.
  const auto home = std::ranges::find_if(word.copies, [](const auto& copy) { return copy.second.is_default && copy.second.current == "online"; });
  if (home != word.copies.end()) {
    auto one = query(home->first, "RETURN 1", left());
    if (!one) return stop(one.error());
    if (!home->second.transaction) home->second.transaction = transaction_in(*one);
  }
  word.whole = true;
  return word;
}

Members::Members(const std::vector<Target>& targets) {
  for (const Target& target : targets) clients_.push_back(std::make_unique<Client>(target));
}

std::vector<Word> Members::look(Duration limit) {
  std::vector<Word> words(clients_.size());
  std::vector<std::thread> asking;
  for (std::size_t i = 0; i < clients_.size(); ++i) asking.emplace_back([&, i] { words[i] = clients_[i]->look(limit); });
  for (std::thread& one : asking) one.join();
  return words;
}

}  // namespace daarion::neo4j
