#include "controlplane/node/guard/protocol.h"

#include <charconv>
#include <cstring>

namespace daarion::guard {
namespace {

/// Reads fields in order; the first that does not fit makes the whole message malformed.
class FieldReader {
 public:
  explicit FieldReader(const Fields& fields) : fields_(fields) {}
  std::string text() {
    if (at_ >= fields_.size()) {
      ok_ = false;
      return {};
    }
    return fields_[at_++];
  }
  template <class Number>
  Number number() {
    const std::string field = text();
    Number value{};
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error != std::errc{} || end != field.data() + field.size()) ok_ = false;
    return value;
  }
  SessionId session() {
    SessionId id;
    const std::string field = text();
    if (!field.empty() && !parse_id_text(field, id.hi, id.lo)) ok_ = false;
    return id;
  }
  std::vector<std::string> list() {
    std::vector<std::string> out;
    for (std::size_t n = number<std::uint32_t>(); ok_ && n > 0; --n) out.push_back(text());
    return out;
  }
  bool ok() const { return ok_; }

 private:
  const Fields& fields_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

void add_list(Fields& out, const std::vector<std::string>& list) {
  out.push_back(std::to_string(list.size()));
  out.insert(out.end(), list.begin(), list.end());
}

std::string text_or_empty(const SessionId& id) { return id.empty() ? std::string{} : to_text(id); }
std::string ns_text(Instant t) { return std::to_string(t.time_since_epoch().count()); }
Instant instant(std::int64_t ns) { return Instant(Duration(ns)); }

tl::unexpected<Error> malformed(const Fields& fields) {
  return fail(Remedy::kFixInput, "a guard's message of " + std::to_string(fields.size()) + " fields is malformed: " + (fields.empty() ? "" : fields[0]));
}

constexpr const char* kVerbs[] = {"arm", "retire", "fence"};

}  // namespace

std::string pack(const Fields& fields) {
  std::string out;
  for (const std::string& field : fields) out.append(field).push_back('\0');
  return out;
}

Fields unpack(const char* data, std::size_t size) {
  Fields out;
  for (std::size_t from = 0; from < size;) {
    const std::string field(data + from, strnlen(data + from, size - from));
    from += field.size() + 1;
    out.push_back(field);
  }
  return out;
}

Fields to_fields(const std::string& id, const Launch& l) {
  Fields out{"start", id, l.switch_user ? "1" : "0", std::to_string(l.uid), std::to_string(l.gid)};
  std::vector<std::string> groups;
  for (const unsigned group : l.groups) groups.push_back(std::to_string(group));
  add_list(out, groups);
  add_list(out, l.command.argv);
  add_list(out, l.command.environment);
  out.push_back(l.command.directory);
  out.push_back(l.command.log_file);
  return out;
}

Result<Launch> launch_of(const Fields& fields) {
  FieldReader in(fields);
  Launch l;
  in.text();  // start
  in.text();  // its id
  l.switch_user = in.text() == "1";
  l.uid = in.number<unsigned>();
  l.gid = in.number<unsigned>();
  const auto groups = in.list();
  FieldReader numbers(groups);
  for (std::size_t i = 0; i < groups.size(); ++i) l.groups.push_back(numbers.number<unsigned>());
  l.command.argv = in.list();
  l.command.environment = in.list();
  l.command.directory = in.text();
  l.command.log_file = in.text();
  if (!in.ok() || !numbers.ok() || l.command.argv.empty()) return malformed(fields);
  return l;
}

Fields to_fields(const GuardReport& r) {
  Fields out{"report", to_text(r.next)};
  out.push_back(r.taken ? text_or_empty(r.taken->session) : "");
  out.push_back(std::to_string(r.taken ? r.taken->epoch.value : 0));
  out.push_back(ns_text(r.taken ? r.taken->deadline : Instant{}));
  out.push_back(std::to_string(r.incarnation));
  out.push_back(r.engine_running ? "1" : "0");
  out.push_back(r.fencing ? "1" : "0");
  out.push_back(std::to_string(r.ended.size()));
  for (const SessionEnd& end : r.ended) {
    out.push_back(to_text(end.session));
    out.push_back(std::to_string(static_cast<int>(end.cause)));
  }
  return out;
}

Result<GuardReport> report_of(const Fields& fields) {
  FieldReader in(fields);
  GuardReport r;
  in.text();  // report
  r.next = in.session();
  const SessionId taken = in.session();
  const Epoch epoch{in.number<std::uint64_t>()};
  const Instant deadline = instant(in.number<std::int64_t>());
  if (!taken.empty()) r.taken = TakenSession{taken, epoch, deadline};
  r.incarnation = in.number<std::uint64_t>();
  r.engine_running = in.text() == "1";
  r.fencing = in.text() == "1";
  for (std::size_t n = in.number<std::uint32_t>(); in.ok() && n > 0; --n) {
    const SessionId session = in.session();
    const int cause = in.number<int>();
    if (cause < 0 || cause > static_cast<int>(EndCause::kHostLost)) return malformed(fields);
    r.ended.push_back({session, static_cast<EndCause>(cause)});
  }
  if (!in.ok()) return malformed(fields);
  return r;
}

Fields to_fields(const GuardCommand& c) {
  return {kVerbs[static_cast<int>(c.kind)], text_or_empty(c.session), std::to_string(c.epoch.value), ns_text(c.deadline)};
}

Result<GuardCommand> command_of(const Fields& fields) {
  FieldReader in(fields);
  GuardCommand c;
  const std::string verb = in.text();
  c.session = in.session();
  c.epoch = Epoch{in.number<std::uint64_t>()};
  c.deadline = instant(in.number<std::int64_t>());
  for (int kind = 0; kind < 3; ++kind) {
    if (verb != kVerbs[kind]) continue;
    c.kind = static_cast<GuardCommand::Kind>(kind);
    if (in.ok()) return c;
  }
  return malformed(fields);
}

}  // namespace daarion::guard
