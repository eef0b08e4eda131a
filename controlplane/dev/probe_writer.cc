#include "controlplane/dev/probe_writer.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "controlplane/node/clock.h"

namespace daarion::dev {
namespace {

using std::chrono::milliseconds;

// A loopback server answers in a millisecond, a busy one in tens; beyond this it is frozen, and a new connection is tried.
constexpr Duration kConnectLimit = milliseconds(300);
constexpr Duration kWriteLimit = milliseconds(1000);
constexpr std::uint64_t kPage = 5000;  // rows asked for at a time

std::string redis_key(const std::string& writer) { return "daarion_probe:" + writer; }

class PostgresSession final : public ProbeSession {
 public:
  explicit PostgresSession(std::unique_ptr<postgres::Connection> c) : c_(std::move(c)) {}
  Result<std::int64_t> write(const std::string& writer, std::uint64_t n, Duration limit) override {
    const auto answer = c_->query("insert into daarion_probe (writer, n) values (" + c_->literal(writer) + ", " + std::to_string(n) + ") returning id", limit);
    if (!answer) return tl::unexpected(answer.error());
    return answer->empty() ? 0 : std::strtoll((*answer)[0][0].c_str(), nullptr, 10);
  }
  bool alive() const override { return c_->alive(); }

 private:
  std::unique_ptr<postgres::Connection> c_;
};

class RedisSession final : public ProbeSession {
 public:
  explicit RedisSession(std::unique_ptr<redis::Connection> c) : c_(std::move(c)) {}
  Result<std::int64_t> write(const std::string& writer, std::uint64_t n, Duration limit) override {
    const auto answer = c_->ask({"SADD", redis_key(writer), std::to_string(n)}, limit);
    if (!answer) return tl::unexpected(answer.error());
    return 0;
  }
  bool alive() const override { return c_->alive(); }

 private:
  std::unique_ptr<redis::Connection> c_;
};

}  // namespace

Result<void> make_probe_table(const postgres::Target& primary, Duration limit) {
  auto c = postgres::Connection::open(primary, limit);
  if (!c) return tl::unexpected(c.error());
  auto made = (*c)->query("create table if not exists daarion_probe (id bigserial, writer text not null, n bigint not null, "
                          "t timestamptz not null default clock_timestamp(), primary key (writer, n))", limit);
  if (!made) return tl::unexpected(made.error());
  return {};
}

ProbeConnect probe_of(postgres::Target target) {
  return [target = std::move(target)](Duration limit) -> Result<std::unique_ptr<ProbeSession>> {
    auto opened = postgres::Connection::open(target, limit);
    if (!opened) return tl::unexpected(opened.error());
    return std::make_unique<PostgresSession>(std::move(*opened));
  };
}

ProbeConnect probe_of(redis::Target target) {
  return [target = std::move(target)](Duration limit) -> Result<std::unique_ptr<ProbeSession>> {
    auto opened = redis::Connection::open(target, limit);
    if (!opened) return tl::unexpected(opened.error());
    return std::make_unique<RedisSession>(std::move(*opened));
  };
}

ProbeWriter::ProbeWriter(ProbeConnect connect, std::string name, Duration every)
    : connect_(std::move(connect)), name_(std::move(name)), every_(every), thread_([this] { run(); }) {}
ProbeWriter::~ProbeWriter() { stop(); }

void ProbeWriter::stop() {
  ending_ = true;
  if (thread_.joinable()) thread_.join();
}

std::size_t ProbeWriter::failed() const {
  const std::lock_guard lock(mutex_);
  return failed_;
}

void ProbeWriter::note(const std::string& error) {
  const std::lock_guard lock(mutex_);
  error_ = error;
  ++failed_;
}

void ProbeWriter::run() {
  std::unique_ptr<ProbeSession> c;
  std::uint64_t n = 0;
  Instant next = node_now();
  while (!ending_) {
    if (const Instant now = node_now(); now < next) std::this_thread::sleep_for(next - now);
    next = node_now() + every_;
    if (!c || !c->alive()) {
      auto opened = connect_(kConnectLimit);
      if (!opened) {
        note(opened.error().message);
        continue;
      }
      c = std::move(*opened);
    }
    // A number is never used again: a write without an answer may be in the database.
    const ProbeWrite write{.sent = node_now(), .at = {}, .n = ++n, .id = 0};
    const auto answer = c->write(name_, write.n, kWriteLimit);
    if (!answer) {
      note(answer.error().message);
      continue;
    }
    const std::lock_guard lock(mutex_);
    error_.clear();
    writes_.push_back(write);
    writes_.back().at = node_now();
    writes_.back().id = *answer;
  }
}

std::vector<ProbeWrite> ProbeWriter::writes() const {
  const std::lock_guard lock(mutex_);
  return writes_;
}
std::vector<ProbeWrite> ProbeWriter::writes_since(Instant from) const {
  const std::lock_guard lock(mutex_);
  return {std::ranges::upper_bound(writes_, from, {}, &ProbeWrite::at), writes_.end()};
}
std::size_t ProbeWriter::count() const {
  const std::lock_guard lock(mutex_);
  return writes_.size();
}
Instant ProbeWriter::first_after(Instant from) const {
  const std::lock_guard lock(mutex_);
  const auto at = std::ranges::upper_bound(writes_, from, {}, &ProbeWrite::sent);
  return at == writes_.end() ? kNever : at->at;
}
Instant ProbeWriter::last() const {
  const std::lock_guard lock(mutex_);
  return writes_.empty() ? Instant{} : writes_.back().at;
}
std::string ProbeWriter::last_error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

WriteGap longest_gap(const std::vector<const ProbeWriter*>& writers, Instant from, Instant to) {
  std::vector<Instant> at{from, to};
  for (const ProbeWriter* writer : writers)
    for (const ProbeWrite& w : writer->writes())
      if (w.at > from && w.at < to) at.push_back(w.at);
  std::ranges::sort(at);
  WriteGap longest;
  for (std::size_t i = 1; i < at.size(); ++i)
    if (at[i] - at[i - 1] > longest.length()) longest = {at[i - 1], at[i]};
  return longest;
}

Result<std::vector<ProbeWrite>> missing_rows(const postgres::Target& where, const ProbeWriter& writer, Duration limit) {
  return missing_rows(where, writer.name(), writer.writes(), limit);
}

Result<std::vector<ProbeWrite>> missing_rows(const redis::Target& where, const ProbeWriter& writer, Duration limit) {
  std::vector<ProbeWrite> missing = writer.writes();  // first: it may write on while the server answers
  auto c = redis::Connection::open(where, limit);
  if (!c) return tl::unexpected(c.error());
  const auto rows = (*c)->ask({"SMEMBERS", redis_key(writer.name())}, limit);
  if (!rows) return tl::unexpected(rows.error());
  std::set<std::uint64_t> there;
  for (const redis::Reply& row : rows->list) there.insert(std::strtoull(row.text.c_str(), nullptr, 10));
  std::erase_if(missing, [&](const ProbeWrite& w) { return there.contains(w.n); });
  return missing;
}

Result<std::vector<ProbeWrite>> missing_rows(const postgres::Target& where, const std::string& writer, const std::vector<ProbeWrite>& writes, Duration limit) {
  auto c = postgres::Connection::open(where, limit);
  if (!c) return tl::unexpected(c.error());
  std::vector<ProbeWrite> missing;
  for (std::size_t i = 0; i < writes.size();) {
    const std::uint64_t first = writes[i].n, last = first + kPage - 1;
    const auto rows = (*c)->query("select n from daarion_probe where writer = " + (*c)->literal(writer) + " and n between " + std::to_string(first) +
                                      " and " + std::to_string(last), limit);
    if (!rows) return tl::unexpected(rows.error());
    std::set<std::uint64_t> there;
    for (const postgres::Row& row : *rows) there.insert(std::strtoull(row[0].c_str(), nullptr, 10));
    for (; i < writes.size() && writes[i].n <= last; ++i)
      if (!there.contains(writes[i].n)) missing.push_back(writes[i]);
  }
  return missing;
}

}  // namespace daarion::dev
