#include "controlplane/drivers/postgres/control.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "controlplane/drivers/files.h"

namespace daarion::postgres {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kControlLimit{5};  // one page is read; longer means that the disk hangs
constexpr seconds kWaldumpLimit{5};  // one record is looked for; longer means that the disk hangs
// Sizes of PostgreSQL's WAL page headers (XLogShortPHD, XLogLongPHD), the same since version 9.3, and its alignment.
constexpr std::uint64_t kShortHeader = 24;
constexpr std::uint64_t kLongHeader = 40;
constexpr std::uint64_t kAlign = 8;

// The settings that a standby must have as much of as its primary, and what pg_controldata calls them.
constexpr std::pair<const char*, const char*> kSettings[] = {{"max_connections", "max_connections"},
                                                             {"max_worker_processes", "max_worker_processes"},
                                                             {"max_wal_senders", "max_wal_senders"},
                                                             {"max_prepared_transactions", "max_prepared_xacts"},
                                                             {"max_locks_per_transaction", "max_locks_per_xact"}};

std::string hex8(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "%08llX", static_cast<unsigned long long>(value));
  return text;
}

/// The value after "label:" in pg_controldata's lines.
std::string field(const std::string& text, const std::string& label) {
  const std::size_t at = text.find(label + ":");
  if (at == std::string::npos) return {};
  const std::size_t from = text.find_first_not_of(" \t", at + label.size() + 1);
  if (from == std::string::npos) return {};
  return text.substr(from, text.find('\n', from) - from);
}

}  // namespace

std::string segment_of(Lsn lsn, std::uint64_t segment_bytes) {
  const std::uint64_t number = lsn.value / segment_bytes;
  const std::uint64_t per_id = 0x100000000ULL / segment_bytes;
  return hex8(number / per_id) + hex8(number % per_id);
}

std::uint64_t number_of(const std::string& text, int base) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, base);
  return value;
}

std::vector<std::string> Tools::environment() const {
  return {"PATH=" + folder + ":/usr/bin:/bin", "LC_ALL=C", "LANG=C", "TZ=UTC", "PGPASSFILE=" + pass_file, "PGCONNECT_TIMEOUT=5"};
}

std::uint64_t major_of(const std::string& data_dir) { return number_of(read_file(data_dir + "/PG_VERSION").value_or("")); }

Result<std::string> find_programs(std::uint64_t wanted) {
  std::uint64_t best = 0;
  std::error_code error;
  for (const fs::directory_entry& e : fs::directory_iterator("/usr/lib/postgresql", error)) {
    const std::uint64_t major = number_of(e.path().filename().string());
    if (major == 0 || (wanted != 0 && major != wanted) || !exists(e.path().string() + "/bin/postgres")) continue;
    best = std::max(best, major);
  }
  if (best != 0) return "/usr/lib/postgresql/" + std::to_string(best) + "/bin";
  std::stringstream path(std::getenv("PATH") ? std::getenv("PATH") : "");
  for (std::string folder; wanted == 0 && std::getline(path, folder, ':');)
    if (exists(folder + "/postgres") && exists(folder + "/initdb")) return folder;
  return fail(Remedy::kFixInput, "find PostgreSQL" + (wanted ? " " + std::to_string(wanted) : "") + ": no /usr/lib/postgresql/" +
                                     (wanted ? std::to_string(wanted) : "<version>") + "/bin/postgres; install the package");
}

Result<ControlData> read_control(const Tools& tools, const std::string& data_dir) {
  auto ran = run_tool({.argv = {tools.folder + "/pg_controldata", "-D", data_dir},
                       .environment = tools.environment(),
                       .user = tools.user,
                       .limit = kControlLimit});
  if (!ran) return tl::unexpected(ran.error());
  if (ran->exit_code != 0) return fail(Remedy::kRetry, "read pg_control of " + data_dir + ": " + cause_in(ran->errors));
  const std::string& t = ran->output;
  ControlData c;
  c.state = field(t, "Database cluster state");
  c.identity = field(t, "Database system identifier");
  c.checkpoint = parse_lsn(field(t, "Latest checkpoint location"));
  c.checkpoint_timeline = number_of(field(t, "Latest checkpoint's TimeLineID"));
  c.recovery_end = parse_lsn(field(t, "Minimum recovery ending location"));
  c.recovery_timeline = number_of(field(t, "Min recovery ending loc's timeline"));
  if (const auto n = number_of(field(t, "Bytes per WAL segment"))) c.segment_bytes = n;
  if (const auto n = number_of(field(t, "WAL block size"))) c.page_bytes = n;
  for (const auto& [setting, label] : kSettings) c.settings[setting] = number_of(field(t, std::string(label) + " setting"));
  if (c.identity.empty() || c.checkpoint_timeline == 0)
    return fail(Remedy::kFixInput, "read pg_control of " + data_dir + ": cannot read what pg_controldata says");
  return c;
}

History parse_history(const std::string& text) {
  History out;
  std::stringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::stringstream words(line);
    std::string timeline;
    std::string lsn;
    if (!(words >> timeline >> lsn) || number_of(timeline) == 0) continue;
    out.push_back({number_of(timeline), parse_lsn(lsn)});
  }
  return out;
}

std::optional<History> read_history(const std::string& data_dir, std::uint64_t timeline) {
  if (timeline <= 1) return History{};
  const auto text = read_file(data_dir + "/pg_wal/" + hex8(timeline) + ".history");
  if (!text) return std::nullopt;
  return parse_history(*text);
}

std::uint64_t newest_timeline(const std::string& data_dir, const ControlData& control, Lsn at) {
  std::uint64_t newest = std::max(control.checkpoint_timeline, control.recovery_timeline);
  // A position at a segment's first byte: what was written is in the segment before.
  const Lsn inside{std::max({at.value, control.checkpoint.value + 1, control.recovery_end.value, std::uint64_t{1}}) - 1};
  const std::string segment = segment_of(inside, control.segment_bytes);
  std::error_code error;
  for (const fs::directory_entry& e : fs::directory_iterator(data_dir + "/pg_wal", error)) {
    const std::string name = e.path().filename().string();
    if (name.size() < 24 || name.compare(8, 16, segment) != 0 || (name.size() > 24 && name.substr(24) != ".partial")) continue;
    const std::uint64_t timeline = number_of(name.substr(0, 8), 16);
    if (timeline > newest && read_history(data_dir, timeline)) newest = timeline;
  }
  return newest;
}

Lsn advance(Lsn start, std::uint64_t record_bytes, std::uint64_t page_bytes, std::uint64_t segment_bytes) {
  std::uint64_t at = start.value;
  std::uint64_t left = (record_bytes + kAlign - 1) / kAlign * kAlign;
  while (left > 0) {
    if (at % page_bytes == 0) at += at % segment_bytes == 0 ? kLongHeader : kShortHeader;
    const std::uint64_t step = std::min(left, page_bytes - at % page_bytes);
    at += step;
    left -= step;
  }
  return {at};
}

Lsn end_of_record(const std::string& data_dir, const ControlData& control, std::uint64_t timeline, Lsn start) {
  // A record begins with its length, in four bytes that never cross a page.
  const std::string path = data_dir + "/pg_wal/" + hex8(timeline) + segment_of(start, control.segment_bytes);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::uint32_t bytes = 0;
  const ssize_t n = pread(fd, &bytes, sizeof bytes, static_cast<off_t>(start.value % control.segment_bytes));
  close(fd);
  // Its header alone is 24 bytes; a checkpoint is about 114. More than a page is none.
  if (n != sizeof bytes || bytes < 24 || bytes > control.page_bytes) return {};
  return advance(start, bytes, control.page_bytes, control.segment_bytes);
}

bool has_record_at(const Tools& tools, const std::string& data_dir, std::uint64_t timeline, Lsn at) {
  auto ran = run_tool({.argv = {tools.folder + "/pg_waldump", "-p", data_dir + "/pg_wal", "-t", std::to_string(timeline), "-s",
                                lsn_text(at), "-n", "1"},
                       .environment = tools.environment(),
                       .user = tools.user,
                       .limit = kWaldumpLimit});
  return ran && ran->output.find("lsn:") != std::string::npos;
}

Position position_of(const std::string& data_dir, const ControlData& control) {
  Position p{newest_timeline(data_dir, control, control.checkpoint), {}, control.identity};
  if (control.state == "shut down")
    p.lsn = end_of_record(data_dir, control, control.checkpoint_timeline, control.checkpoint);
  else if (control.state == "shut down in recovery")
    p.lsn = std::max(control.recovery_end, end_of_record(data_dir, control, control.checkpoint_timeline, control.checkpoint));
  return p;
}

Lsn parse_lsn(const std::string& text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) return {};
  return {(number_of(text.substr(0, slash), 16) << 32) | number_of(text.substr(slash + 1), 16)};
}

std::string timeline_text(std::uint64_t timeline) { return "timeline " + std::to_string(timeline); }

std::string lsn_text(Lsn lsn) {
  char text[32];
  std::snprintf(text, sizeof text, "%llX/%llX", static_cast<unsigned long long>(lsn.value >> 32),
                static_cast<unsigned long long>(lsn.value & 0xffffffff));
  return text;
}

}  // namespace daarion::postgres
