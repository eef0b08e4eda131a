#include "controlplane/node/record_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "controlplane/node/ids.h"

namespace daarion {
namespace {

using Json = nlohmann::ordered_json;

std::string cause(const char* verb, const std::string& path) { return std::string(verb) + " " + path + ": " + std::strerror(errno); }

/// Covers everything else in the file: a record that a disk damaged is not believed.
std::string checksum(const Json& body) {
  const std::string text = body.dump();
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return id_text(hash.high64, hash.low64);
}

template <class Id>
Id id_of(const Json& json, const char* key) {
  Id id;
  const std::string text = json.at(key).get<std::string>();
  if (!text.empty() && !parse_id_text(text, id.hi, id.lo)) throw std::invalid_argument(std::string(key) + " is not an id: " + text);
  return id;
}
template <class Id>
std::string text_or_empty(const Id& id) {
  return id.empty() ? std::string{} : to_text(id);
}

Json voters_json(const VoterSet& set) {
  Json voters = Json::array();
  for (const VoterInstance& v : set.voters) voters.push_back({{"node", v.node.value}, {"instance", to_text(v.instance)}});
  return {{"id", text_or_empty(set.id)}, {"sequence", set.sequence.value}, {"voters", voters}};
}
VoterSet voters_of(const Json& json) {
  VoterSet set{.id = id_of<EventId>(json, "id"), .sequence = {json.at("sequence").get<std::uint64_t>()}, .voters = {}};
  for (const Json& v : json.at("voters")) set.voters.push_back({NodeId(v.at("node").get<std::string>()), id_of<InstanceId>(v, "instance")});
  return set;
}

bool sync_folder(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool ok = ::fsync(fd) == 0;
  ::close(fd);
  return ok;
}

bool write_all(int fd, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace

std::string record_text(const VoterRecord& r) {
  Json body = {{"schema", 1},
               {"instance", to_text(r.instance)},
               {"run", text_or_empty(r.run)},
               {"boot", text_or_empty(r.boot)},
               {"log", text_or_empty(r.log)},
               {"voter_set", voters_json(r.voters)},
               {"earlier_runs", Json::array()},
               {"promises", Json::object()},
               {"floors", Json::object()},
               {"regressed", r.regressed.value},
               {"log_root", text_or_empty(r.root)},
               {"log_overrides", r.overrides}};
  for (const RunId& run : r.earlier_runs) body["earlier_runs"].push_back(to_text(run));
  for (const auto& [resource, p] : r.promises)
    body["promises"][resource.value] = {{"epoch", p.epoch.value},         {"session", to_text(p.session)},  {"node", p.node.value},
                                        {"longest_ns", p.longest.count()}, {"paused", p.paused.value},
                                        {"instance", text_or_empty(p.instance)}};
  for (const auto& [resource, epoch] : r.floors) body["floors"][resource.value] = epoch.value;
  Json file = body;
  file["checksum"] = checksum(body);
  return file.dump(1) + "\n";
}

Result<VoterRecord> parse_record(const std::string& text) {
  try {
    Json file = Json::parse(text);
    const std::string sum = file.at("checksum").get<std::string>();
    file.erase("checksum");
    if (file.at("schema").get<int>() != 1) return fail(Remedy::kFixInput, "its schema is not 1");
    if (checksum(file) != sum) return fail(Remedy::kFixInput, "its checksum is wrong");
    VoterRecord r{.instance = id_of<InstanceId>(file, "instance"), .run = id_of<RunId>(file, "run"), .boot = id_of<BootId>(file, "boot"),
                  .log = id_of<LogId>(file, "log"), .voters = voters_of(file.at("voter_set")), .earlier_runs = {}, .promises = {},
                  .floors = {}};
    for (const Json& run : file.at("earlier_runs")) {
      RunId id;
      if (!parse_id_text(run.get<std::string>(), id.hi, id.lo)) return fail(Remedy::kFixInput, "earlier_runs holds no id");
      r.earlier_runs.push_back(id);
    }
    for (const auto& [resource, p] : file.at("promises").items())
      r.promises[ResourceId(resource)] = {.epoch = {p.at("epoch").get<std::uint64_t>()}, .session = id_of<SessionId>(p, "session"),
                                          .node = NodeId(p.at("node").get<std::string>()),
                                          .longest = Duration(p.at("longest_ns").get<std::int64_t>()),
                                          .paused = {p.at("paused").get<std::uint64_t>()},
                                          .instance = p.contains("instance") ? id_of<InstanceId>(p, "instance") : InstanceId{}};
    r.regressed = {file.value("regressed", std::uint64_t{0})};
    if (file.contains("log_root")) r.root = id_of<LogId>(file, "log_root");
    r.overrides = file.value("log_overrides", std::uint64_t{0});
    for (const auto& [resource, epoch] : file.at("floors").items()) r.floors[ResourceId(resource)] = {epoch.get<std::uint64_t>()};
    return r;
  } catch (const std::exception& e) {  // nlohmann's and id_of's: malformed text
    return fail(Remedy::kFixInput, e.what());
  }
}

Result<RecordFile> RecordFile::open(const std::string& path) {
  const std::string lock_path = path + ".lock";
  const int fd = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return fail(Remedy::kFixInput, cause("open", lock_path));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const std::string why = errno == EWOULDBLOCK ? "lock " + lock_path + ": another daariond of this node runs; end that one first"
                                                 : cause("lock", lock_path);
    ::close(fd);
    return fail(Remedy::kFixInput, why);
  }
  return RecordFile(path, fd);
}

bool RecordFile::in_use(const std::string& path) {
  const int fd = ::open((path + ".lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == EACCES;  // another user's
  const bool had = ::flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(fd);
  return had;
}

RecordFile::RecordFile(RecordFile&& other) noexcept : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

RecordFile::~RecordFile() {
  if (lock_ >= 0) ::close(lock_);
}

Result<VoterRecord> RecordFile::read() const {
  if (!std::filesystem::exists(path_)) return VoterRecord{.instance = new_instance()};
  std::ifstream in(path_);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return fail(Remedy::kFixInput, cause("read", path_));
  auto record = parse_record(text.str());
  if (!record)
    return fail(Remedy::kFixInput, "read " + path_ + ": " + record.error().message +
                                       "; if it is lost for good, delete it: this node is then a new voter instance");
  if (!made_here(record->instance)) return VoterRecord{.instance = new_instance()};
  return record;
}

Result<void> RecordFile::write(const VoterRecord& record) const {
  const std::string next = path_ + ".next";
  const int fd = ::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return fail(Remedy::kStop, cause("open", next));
  const bool written = write_all(fd, record_text(record)) && ::fsync(fd) == 0;
  const std::string why = written ? "" : cause("write", next);
  ::close(fd);
  if (!written) return fail(Remedy::kStop, why, Effect::kNone);
  if (::rename(next.c_str(), path_.c_str()) != 0) return fail(Remedy::kStop, cause("rename", next));
  if (!sync_folder(path_)) return fail(Remedy::kStop, cause("sync the folder of", path_), Effect::kMaybe);
  return {};
}

}  // namespace daarion
