#include "controlplane/drivers/verbs.h"

#include <dirent.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

namespace daarion {
namespace {

constexpr std::streamoff kTailBytes = 8192;

}  // namespace

const PeerAddress* find_peer(const DriverConfig& config, const NodeId& node) {
  const auto it = std::ranges::find(config.peers, node, &PeerAddress::node);
  return it == config.peers.end() ? nullptr : &*it;
}

Result<void> check_config(const DriverConfig& config) {
  const std::string name = "prepare " + config.resource.id.value + ": ";
  if (find_peer(config, config.self) == nullptr)
    return fail(Remedy::kFixInput, name + config.self.value + " is not among its peers");
  const std::string& folder = config.resource.data_dir;
  if (folder.empty() || folder.front() != '/' || folder.back() == '/')
    return fail(Remedy::kFixInput, name + "data_dir '" + folder + "' is no absolute path");
  return {};
}

VerbDriver::VerbDriver(DriverConfig config, EngineHost& host)
    : config_(std::move(config)),
      host_(host),
      data_dir_(config_.resource.data_dir),
      log_file_(config_.run_dir + "/" + config_.resource.id.value + ".log") {}

DriverResult VerbDriver::run(const DriverCommand& c) {
  DriverResult r{.op = c.op, .resource = c.resource, .verb = c.verb};
  const auto verb = [&]() -> Result<void> {
    switch (c.verb) {
      case Verb::kObserve:
        return {};
      case Verb::kProvision:
        return provision(c, r);
      case Verb::kStart:
        return start(c, r);
      case Verb::kFollow:
        return follow(c, r);
      case Verb::kRejoin:
        return rejoin(c, r);
      case Verb::kPromote:
        return promote(c, r);
      case Verb::kStop:
        return stop(c, r);
      case Verb::kSetSync:
        return set_sync(c);
    }
    return {};
  };
  static constexpr const char* kNames[] = {"observe", "provision", "start", "follow", "rejoin", "promote", "stop", "set the confirming replicas of"};
  const Result<void> done = verb();
  r.ok = done.has_value();
  if (!done)
    r.message = std::string(kNames[static_cast<int>(c.verb)]) + " " + config_.resource.id.value + " on " + config_.self.value +
                ": " + done.error().message;
  return r;
}

EngineReport VerbDriver::observe() {
  EngineReport r;
  r.resource = config_.resource.id;
  r.incarnation = host_.incarnation();
  switch (data()) {
    case Data::kEmpty:
      r.state = EngineState::kEmpty;
      r.health = host_.running() ? "its data directory is gone while it runs" : "";
      return r;
    case Data::kForeign:
      r.state = EngineState::kForeign;
      r.health = what_is_foreign();
      return r;
    case Data::kOurs:
      break;
  }
  if (host_.running())
    fill_running(r);
  else
    fill_stopped(r);
  // Of an engine that ended or was started meanwhile nothing was learned.
  if (host_.incarnation() != r.incarnation)
    return {.resource = r.resource, .incarnation = r.incarnation, .health = "it was restarted meanwhile"};
  fill_rest(r);
  return r;
}

const Opening* VerbDriver::fill_opening(EngineReport& r, const Marker& marker) const {
  const auto it = marker.openings.find(r.position.timeline);
  if (it == marker.openings.end()) return nullptr;
  r.opened_epoch = it->second.epoch;
  if (it->second.node == config_.self) r.opened = it->second.session;
  else r.inherited = it->second.session, r.inherited_from = it->second.node;
  return &it->second;
}

VerbDriver::Data VerbDriver::data() const {
  DIR* folder = opendir(data_dir_.c_str());
  if (folder == nullptr) return exists(data_dir_) ? Data::kForeign : Data::kEmpty;
  bool any = false;
  while (const dirent* e = readdir(folder)) any = any || (std::strcmp(e->d_name, ".") != 0 && std::strcmp(e->d_name, "..") != 0);
  closedir(folder);
  if (!any) return Data::kEmpty;
  if (noted_ours()) return Data::kOurs;
  const auto marker = read_marker(data_dir_);
  return marker && marker->resource == config_.resource.id ? Data::kOurs : Data::kForeign;
}

std::string VerbDriver::what_is_foreign() const {
  const auto marker = read_marker(data_dir_);
  if (marker) return data_dir_ + " holds the data of resource " + marker->resource.value + " (its daarion.json says so)";
  return data_dir_ +
         " is not empty and has no daarion.json: not made by daarion, and left untouched; move it away, or set data_dir to a "
         "folder of its own";
}

Result<void> VerbDriver::need_ours() const {
  switch (data()) {
    case Data::kOurs:
      return {};
    case Data::kForeign:
      return fail(Remedy::kFixInput, what_is_foreign());
    case Data::kEmpty:
      break;
  }
  return fail(Remedy::kFixInput, "there are no data in " + data_dir_ + "; provision it first");
}

Result<const PeerAddress*> VerbDriver::peer(const NodeId& node) const {
  if (node.empty()) return fail(Remedy::kFixInput, "no upstream is named");
  if (node == config_.self) return fail(Remedy::kFixInput, "it cannot follow itself");
  const PeerAddress* found = find_peer(config_, node);
  if (found == nullptr) return fail(Remedy::kFixInput, node.value + " is no member of " + config_.resource.id.value);
  return found;
}

Result<void> VerbDriver::need_newest(const Marker& marker, Epoch epoch) {
  Epoch highest;
  for (const auto& [timeline, o] : marker.openings) highest = std::max(highest, o.epoch);
  if (epoch >= highest) return {};
  return fail(Remedy::kStepDown,
              "epoch " + std::to_string(epoch.value) + " is older than " + std::to_string(highest.value) + ", which these data have seen");
}

std::string VerbDriver::log_tail() const {
  std::ifstream log(log_file_, std::ios::binary);
  log.seekg(0, std::ios::end);
  const std::streamoff size = log.tellg();
  if (size <= 0) return {};
  log.seekg(std::max<std::streamoff>(0, size - kTailBytes));
  std::ostringstream text;  // iterators would throw on a disk that fails
  text << log.rdbuf();
  return text.str();
}

}  // namespace daarion
