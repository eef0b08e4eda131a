#include "streams/edge_mirrors.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>

#include "streams/js_request.h"
#include "streams/log_stream.h"
#include "streams/nats_handles.h"

namespace daarion {
namespace {

constexpr std::uint64_t kBack = 32;  // older messages looked at in turn
// After every node was cut off, the origin had one leader after the other, and a mirror was deleted four times in eight seconds: one that was just made
// has time to be a copy.
constexpr std::chrono::seconds kRest{10};

struct Mirror {
  std::string name, origin;
  CopyJudge judge;
  std::chrono::steady_clock::time_point deleted{};
};

class NatsMirrorKeeper final : public MirrorKeeper {
 public:
  NatsMirrorKeeper(std::shared_ptr<Connection> leaf, std::shared_ptr<Connection> core, std::string core_domain, NodeId edge)
      : leaf_(std::move(leaf)), core_(std::move(core)), core_domain_(std::move(core_domain)), edge_(std::move(edge)) {}

  Result<std::string> tend(Duration limit) override {
    if (!leaf_->connected() || !core_->connected()) return std::string();
    std::string done;
    for (Mirror& mirror : mirrors_) {
      const auto last = last_of(mirror.name, limit);
      if (!last || !mirror.judge.is_copy(*last, limit)) continue;  // nobody can tell now
      if (!mirror.judge.other() || std::chrono::steady_clock::now() < mirror.deleted + kRest) continue;
      if (auto gone = remove(mirror, limit); !gone) return tl::unexpected(gone.error());
      done += "deleted " + mirror.name + ": " + mirror.origin + " does not have what it has; ";
    }
    return make_again(std::move(done), limit);
  }

  Result<std::string> log_lost(Sequence first, Duration limit) override {
    const std::string& mirror = mirrors_[0].name;
    const auto last = last_of(mirror, limit);
    if (!last) return tl::unexpected(last.error());
    if (*last < first.value) return std::string();
    if (auto gone = remove(mirrors_[0], limit); !gone) return tl::unexpected(gone.error());
    return make_again("deleted " + mirror + ": it has events from " + std::to_string(first.value) + " on, which the log lost; ", limit);
  }

 private:
  /// The last sequence; 0: it is empty, or there is none.
  Result<std::uint64_t> last_of(const std::string& mirror, Duration limit) {
    const auto info = js_request(*leaf_, "$JS.API.STREAM.INFO." + mirror, nullptr, limit);
    if (!info) return tl::unexpected(info.error());
    return info->contains("state") ? info->at("state").value("last_seq", std::uint64_t{0}) : 0;
  }

  Result<void> remove(Mirror& mirror, Duration limit) {
    const auto gone = js_request(*leaf_, "$JS.API.STREAM.DELETE." + mirror.name, nullptr, limit);
    if (!gone) return tl::unexpected(gone.error());
    if (gone->contains("error")) return fail(Remedy::kRetry, "delete the mirror " + mirror.name + ": " + js_error_text(*gone));
    mirror.judge.forget();
    mirror.deleted = std::chrono::steady_clock::now();
    missing_ = true;
    return {};
  }

  Result<std::string> make_again(std::string done, Duration limit) {
    if (!missing_) return done;
    if (const auto made = provision_edge_mirrors(*leaf_, core_domain_, edge_, limit); !made)
      return done.empty() ? Result<std::string>(tl::unexpected(made.error())) : Result<std::string>(std::move(done));  // and again at the next look
    missing_ = false;
    return done + "made again what was missing";
  }

  std::shared_ptr<Connection> leaf_, core_;
  std::string core_domain_;
  NodeId edge_;
  Mirror judged(const char* name, const char* origin) const { return {name, origin, CopyJudge({leaf_, name}, {core_, origin}), {}}; }
  std::array<Mirror, 2> mirrors_{judged(kLogMirror, kClusterLog), judged(kTelemetryMirror, kClusterTelemetry)};
  bool missing_ = false;
};

}  // namespace

Result<bool> CopyJudge::is_copy(std::uint64_t last, Duration limit) {
  auto copy = look(last, limit);
  if (copy) doubts_ = *copy ? 0 : doubts_ + 1;
  return copy;
}

/// A mirror may have taken a message of a server that did not lead any more, and what came later from the one that leads.
Result<bool> CopyJudge::look(std::uint64_t last, Duration limit) {
  if (last == 0) return true;
  const auto newest = same_at(last, limit);
  if (!newest || !*newest) return newest;
  const std::uint64_t at = suspect_ != 0 ? suspect_ : last - std::min(last, back_);
  back_ = back_ % kBack + 1;
  const bool same = at == 0 || same_at(at, limit).value_or(true);  // not there, or nobody can tell: no reason to doubt
  suspect_ = same ? 0 : at;
  return same;
}

Result<bool> CopyJudge::same_at(std::uint64_t sequence, Duration limit) const {
  const auto of = [&](const StreamAt& at) { return leaders_message(at.connection->handles().link()->js, at.name, sequence, limit, at.domain).message; };
  const MsgPtr copy = of(copy_);
  if (!copy) return fail(Remedy::kRetry, "look at message " + std::to_string(sequence) + " of " + copy_.name + ": no answer");
  const MsgPtr original = of(origin_);
  if (original && natsMsg_GetTime(original.get()) == natsMsg_GetTime(copy.get()) && data_of(original.get()) == data_of(copy.get())) return true;
  const auto range = range_in_touch(*origin_.connection, origin_.name, limit, {}, origin_.domain);
  if (!range) return tl::unexpected(range.error());
  return !original && sequence < range->first;
}

std::unique_ptr<MirrorKeeper> make_mirror_keeper(std::shared_ptr<Connection> leaf, std::shared_ptr<Connection> core, std::string core_domain, NodeId edge) {
  return std::make_unique<NatsMirrorKeeper>(std::move(leaf), std::move(core), std::move(core_domain), std::move(edge));
}

}  // namespace daarion
