#include "controlplane/drivers/postgres/connection.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "controlplane/drivers/ready.h"

namespace daarion::postgres {
namespace {

using Steady = std::chrono::steady_clock;
constexpr std::size_t kMaxRows = 10'000;  // nothing here asks for more than a row per member

std::string one_line(const char* text) {
  std::string out = text ? text : "";
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  std::ranges::replace(out, '\n', ' ');
  return out;
}

std::string where(const Target& t) { return t.host + ":" + std::to_string(t.port); }

}  // namespace

struct Connection::Handle {
  PGconn* conn = nullptr;
  ~Handle() { PQfinish(conn); }
};

Connection::Connection(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
Connection::~Connection() = default;

Result<std::unique_ptr<Connection>> Connection::open(const Target& t, Duration limit) {
  const auto until = Steady::now() + limit;
  const std::string port = std::to_string(t.port);
  const std::array<const char*, 10> keys{
      "host", "port", "user", "password", "dbname", "replication", "gssencmode", "application_name", "client_encoding", nullptr};
  const std::array<const char*, 10> values{t.host.c_str(),
                                           port.c_str(),
                                           t.user.c_str(),
                                           t.password.c_str(),
                                           t.database.c_str(),
                                           t.replication ? "database" : "false",
                                           "disable",
                                           "daariond",
                                           "UTF8",
                                           nullptr};
  auto handle = std::make_unique<Handle>();
  handle->conn = PQconnectStartParams(keys.data(), values.data(), 0);
  PGconn* conn = handle->conn;
  if (conn == nullptr) return fail(Remedy::kRetry, "connect to " + where(t) + ": out of memory");
  PostgresPollingStatusType wants = PGRES_POLLING_WRITING;
  while (PQstatus(conn) != CONNECTION_BAD && wants != PGRES_POLLING_OK) {
    if (!ready(PQsocket(conn), wants == PGRES_POLLING_READING ? POLLIN : POLLOUT, until))
      return fail(Remedy::kRetry, "connect to " + where(t) + ": no answer in " + std::to_string(to_ms(limit)) + " ms");
    wants = PQconnectPoll(conn);
    if (wants == PGRES_POLLING_FAILED) break;
  }
  if (PQstatus(conn) != CONNECTION_OK)
    return fail(Remedy::kRetry, "connect to " + where(t) + ": " + one_line(PQerrorMessage(conn)));
  PQsetNoticeProcessor(
      conn, [](void*, const char*) {}, nullptr);
  PQsetnonblocking(conn, 1);
  return std::unique_ptr<Connection>(new Connection(std::move(handle)));
}

bool Connection::alive() const { return handle_->conn != nullptr && PQstatus(handle_->conn) == CONNECTION_OK; }
std::uint32_t Connection::version() const { return static_cast<std::uint32_t>(PQserverVersion(handle_->conn)); }

Result<Rows> Connection::query(const std::string& sql, Duration limit) {
  const auto until = Steady::now() + limit;
  PGconn* conn = handle_->conn;
  sqlstate_.clear();
  const auto lost = [&](const std::string& why, Effect effect) {
    PQfinish(std::exchange(handle_->conn, nullptr));
    return fail(Remedy::kRetry, why, effect);
  };
  if (!alive()) return fail(Remedy::kRetry, "ask the server: the connection is lost");
  if (PQsendQuery(conn, sql.c_str()) != 1) return lost(one_line(PQerrorMessage(conn)), Effect::kNone);
  Rows rows;
  std::string failure;
  while (true) {
    for (int left = 1; left != 0;) {
      if (left = PQflush(conn); left < 0) return lost(one_line(PQerrorMessage(conn)), Effect::kMaybe);
      if (left > 0 && !ready(PQsocket(conn), POLLOUT | POLLIN, until)) return lost("no answer in time", Effect::kMaybe);
      if (left > 0 && PQconsumeInput(conn) != 1) return lost(one_line(PQerrorMessage(conn)), Effect::kMaybe);
    }
    while (PQisBusy(conn) == 1) {
      if (!ready(PQsocket(conn), POLLIN, until))
        return lost("no answer in " + std::to_string(to_ms(limit)) + " ms", Effect::kMaybe);
      if (PQconsumeInput(conn) != 1) return lost(one_line(PQerrorMessage(conn)), Effect::kMaybe);
    }
    PGresult* result = PQgetResult(conn);
    if (result == nullptr) break;
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK) {
      rows.clear();
      for (int r = 0; r < PQntuples(result) && rows.size() < kMaxRows; ++r) {
        Row row;
        for (int c = 0; c < PQnfields(result); ++c)
          row.emplace_back(PQgetvalue(result, r, c), static_cast<std::size_t>(PQgetlength(result, r, c)));
        rows.push_back(std::move(row));
      }
    } else if (status != PGRES_COMMAND_OK) {
      failure = one_line(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
      if (failure.empty()) failure = one_line(PQresultErrorMessage(result));
      if (const char* code = PQresultErrorField(result, PG_DIAG_SQLSTATE)) sqlstate_ = code;
    }
    PQclear(result);
  }
  if (!failure.empty()) return fail(Remedy::kRetry, failure);
  return rows;
}

std::string Connection::literal(const std::string& text) const {
  char* quoted = PQescapeLiteral(handle_->conn, text.c_str(), text.size());
  std::string out = quoted ? quoted : "''";
  PQfreemem(quoted);
  return out;
}

std::string Connection::name(const std::string& text) const {
  char* quoted = PQescapeIdentifier(handle_->conn, text.c_str(), text.size());
  std::string out = quoted ? quoted : "\"\"";
  PQfreemem(quoted);
  return out;
}

std::string Connection::verifier(const std::string& user, const std::string& password) const {
  char* made = PQencryptPasswordConn(handle_->conn, password.c_str(), user.c_str(), "scram-sha-256");
  std::string out = made ? made : "";
  PQfreemem(made);
  return out;
}

Result<void> knock(const Target& t, Duration limit) {
  const auto until = Steady::now() + limit;
  const auto failed = [&](const char* why) { return fail(Remedy::kRetry, "knock at " + where(t) + ": " + why); };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = t.host + "/.s.PGSQL." + std::to_string(t.port);
  if (path.size() >= sizeof address.sun_path)
    return fail(Remedy::kFixInput, "knock at " + path + ": the path is too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size());
  struct Socket {
    int fd;
    ~Socket() { close(fd); }
  } s{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (connect(s.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return failed(std::strerror(errno));
  // SSLRequest: its length, its code 1234.5679; the answer is one byte.
  constexpr std::array<unsigned char, 8> kSslRequest{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
  if (send(s.fd, kSslRequest.data(), kSslRequest.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(kSslRequest.size()))
    return failed(std::strerror(errno));
  char answer = 0;
  if (!ready(s.fd, POLLIN, until)) return failed(("no answer in " + std::to_string(to_ms(limit)) + " ms").c_str());
  if (read(s.fd, &answer, 1) != 1) return failed("it hung up");
  return {};
}

}  // namespace daarion::postgres
