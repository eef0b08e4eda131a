#include "controlplane/core/evidence.h"

namespace daarion {

const SessionId& opener_of(const EngineReport& report) { return report.opened.empty() ? report.inherited : report.opened; }

void add_timeline(std::vector<TimelineStart>& history, const TimelineStart& newest) {
  if (newest.timeline == 0) return;
  std::erase_if(history, [&](const TimelineStart& t) { return t.timeline >= newest.timeline; });
  history.push_back(newest);
}

const char* text_of(MemberIntent intent) {
  switch (intent) {
    case MemberIntent::kActive: return "active";
    case MemberIntent::kDraining: return "draining";
    case MemberIntent::kMaintenance: return "maintenance";
    case MemberIntent::kDisabled: return "disabled";
    case MemberIntent::kRetired: return "retired";
  }
  return "unknown";
}

const char* text_of(DecisionKind kind) {
  switch (kind) {
    case DecisionKind::kBootstrap: return "bootstrap";
    case DecisionKind::kFailover: return "failover";
    case DecisionKind::kSwitchover: return "switchover";
    case DecisionKind::kForced: return "forced";
    case DecisionKind::kKeep: return "keep";
  }
  return "unknown";
}

const char* text_of(EngineState state) {
  switch (state) {
    case EngineState::kUnknown: return "unknown";
    case EngineState::kEmpty: return "empty";
    case EngineState::kForeign: return "foreign";
    case EngineState::kStopped: return "stopped";
    case EngineState::kStarting: return "starting";
    case EngineState::kStandby: return "standby";
    case EngineState::kPrimary: return "primary";
    case EngineState::kUnresponsive: return "unresponsive";
  }
  return "unknown";
}

}  // namespace daarion
