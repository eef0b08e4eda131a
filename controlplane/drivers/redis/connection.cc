#include "controlplane/drivers/redis/connection.h"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>

#include "controlplane/drivers/ready.h"

namespace daarion::redis {
namespace {

using Steady = std::chrono::steady_clock;

std::string where(const Target& t) { return t.host.starts_with('/') ? t.host : t.host + ":" + std::to_string(t.port); }

Reply reply_of(const redisReply& r) {
  Reply out;
  switch (r.type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      out.kind = Reply::Kind::kText;
      out.text.assign(r.str, r.len);
      break;
    case REDIS_REPLY_ERROR:
      out.kind = Reply::Kind::kError;
      out.text.assign(r.str, r.len);
      break;
    case REDIS_REPLY_INTEGER:
      out.kind = Reply::Kind::kNumber;
      out.number = r.integer;
      break;
    case REDIS_REPLY_ARRAY:
      out.kind = Reply::Kind::kList;
      for (std::size_t i = 0; i < r.elements; ++i) out.list.push_back(reply_of(*r.element[i]));
      break;
    default:
      break;
  }
  return out;
}

}  // namespace

struct Connection::Handle {
  redisContext* context = nullptr;
  std::string where;
  ~Handle() { drop(); }
  void drop() {
    if (context != nullptr) redisFree(std::exchange(context, nullptr));
  }
};

Connection::Connection(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
Connection::~Connection() = default;
bool Connection::alive() const { return handle_->context != nullptr; }

Result<std::unique_ptr<Connection>> Connection::open(const Target& t, Duration limit) {
  const auto until = Steady::now() + limit;
  const auto failed = [&](const std::string& why) { return fail(Remedy::kRetry, "connect to " + where(t) + ": " + why); };
  auto handle = std::make_unique<Handle>();
  handle->where = where(t);
  handle->context = t.host.starts_with('/') ? redisConnectUnixNonBlock(t.host.c_str()) : redisConnectNonBlock(t.host.c_str(), static_cast<int>(t.port));
  redisContext* c = handle->context;
  if (c == nullptr) return failed("out of memory");
  if (c->err != 0) return failed(c->errstr);
  // The probe: until the kernel has connected nothing is sent, and a port that swallows everything costs the limit and no more.
  if (!ready(c->fd, POLLOUT, until)) return failed("no answer in " + std::to_string(to_ms(limit)) + " ms");
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return failed(std::strerror(error));
  std::unique_ptr<Connection> out(new Connection(std::move(handle)));
  if (t.password.empty()) return out;
  Command auth{"AUTH", t.password};
  if (!t.user.empty()) auth.insert(auth.begin() + 1, t.user);
  if (auto in = out->ask(auth, until - Steady::now()); !in) return failed(in.error().message);
  return out;
}

Result<std::vector<Reply>> Connection::run(const std::vector<Command>& commands, Duration limit) {
  const auto until = Steady::now() + limit;
  redisContext* c = handle_->context;
  if (c == nullptr) return fail(Remedy::kRetry, "ask " + handle_->where + ": the connection is lost");
  for (const Command& command : commands) {
    std::vector<const char*> argv;
    std::vector<std::size_t> sizes;
    for (const std::string& arg : command) argv.push_back(arg.data()), sizes.push_back(arg.size());
    if (redisAppendCommandArgv(c, static_cast<int>(argv.size()), argv.data(), sizes.data()) != REDIS_OK) return lost(c->errstr, Effect::kNone);
  }
  for (int done = 0; done == 0;) {
    if (redisBufferWrite(c, &done) != REDIS_OK) return lost(c->errstr, Effect::kMaybe);
    if (done == 0 && !ready(c->fd, POLLOUT, until)) return lost("no answer in time", Effect::kMaybe);
  }
  std::vector<Reply> replies;
  while (replies.size() < commands.size()) {
    auto reply = next(until);
    if (!reply) return tl::unexpected(reply.error());
    if (!*reply) return lost("no answer in " + std::to_string(to_ms(limit)) + " ms", Effect::kMaybe);
    replies.push_back(std::move(**reply));
  }
  return replies;
}

Result<std::optional<Reply>> Connection::listen(Duration limit) {
  if (handle_->context == nullptr) return fail(Remedy::kRetry, "listen to " + handle_->where + ": the connection is lost");
  return next(Steady::now() + limit);
}

/// The next reply; nothing by that time: none. Pre: it is alive.
Result<std::optional<Reply>> Connection::next(Steady::time_point until) {
  redisContext* c = handle_->context;
  for (;;) {
    void* reply = nullptr;
    if (redisGetReplyFromReader(c, &reply) != REDIS_OK) return lost(c->errstr, Effect::kMaybe);
    if (reply != nullptr) {
      std::optional<Reply> out = reply_of(*static_cast<redisReply*>(reply));
      freeReplyObject(reply);
      return out;
    }
    if (!ready(c->fd, POLLIN, until)) return std::nullopt;
    if (redisBufferRead(c) != REDIS_OK) return lost(c->errstr, Effect::kMaybe);
  }
}

tl::unexpected<Error> Connection::lost(const std::string& why, Effect effect) {
  auto out = fail(Remedy::kRetry, why, effect);
  handle_->drop();
  return out;
}

Result<Reply> Connection::ask(const Command& command, Duration limit) {
  auto replies = run({command}, limit);
  if (!replies) return tl::unexpected(replies.error());
  Reply& reply = replies->front();
  if (reply.kind == Reply::Kind::kError) return fail(Remedy::kRetry, reply.text);
  return std::move(reply);
}

Result<Connection*> KeptConnections::reach(const Target& target, Duration limit) {
  std::unique_ptr<Connection>& kept = kept_[where(target)];
  if (kept && kept->alive()) return kept.get();
  auto made = Connection::open(target, limit);
  if (!made) return tl::unexpected(made.error());
  kept = std::move(*made);
  return kept.get();
}

Result<std::vector<Reply>> KeptConnections::ask(const Target& target, const std::vector<Command>& commands, Duration connect_limit, Duration ask_limit) {
  const auto begun = Steady::now();
  const auto kept = kept_.find(where(target));
  for (bool again = kept != kept_.end() && kept->second != nullptr;; again = false) {
    const auto c = reach(target, connect_limit);
    if (!c) return tl::unexpected(c.error());
    auto said = (*c)->run(commands, ask_limit);
    if (said && said->front().kind == Reply::Kind::kError) said = fail(Remedy::kRetry, said->front().text);
    if (said) return said;
    kept_.erase(where(target));
    if (!again || Steady::now() - begun > connect_limit) return said;
  }
}

Info parse_info(const std::string& text) {
  Info out;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t to = std::min(text.find('\n', from), text.size());
    std::string_view line(text.data() + from, to - from);
    from = to + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const std::size_t colon = line.find(':');
    if (line.empty() || line[0] == '#' || colon == std::string_view::npos) continue;
    out[std::string(line.substr(0, colon))] = std::string(line.substr(colon + 1));
  }
  return out;
}

std::string field(const Info& info, const std::string& name) {
  const auto at = info.find(name);
  return at == info.end() ? "" : at->second;
}

std::uint64_t number(const Info& info, const std::string& name, std::uint64_t otherwise) {
  const std::string text = field(info, name);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? value : otherwise;
}

}  // namespace daarion::redis
