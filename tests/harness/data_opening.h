// Who opened the newest timeline of an engine's data, as the marker in a real engine's data tells it; of engines that tests make up.
#pragma once

#include "controlplane/core/evidence.h"

namespace daarion::test {

struct DataOpening {
  SessionId opened;       // on this host, under this session
  Epoch opened_epoch;     // of whichever session opened it
  NodeId inherited_from;  // or there, under that session
  SessionId inherited;

  const SessionId& opener() const { return opened.empty() ? inherited : opened; }
  /// Takes over whose timeline it is, from the data of that node.
  void inherit(const DataOpening& from, const NodeId& node) {
    inherited = from.opener();
    inherited_from = from.opened.empty() ? from.inherited_from : node;
    opened_epoch = from.opened_epoch;
    opened = {};
  }
  void show(EngineReport& report) const {
    report.opened = opened;
    report.opened_epoch = opened_epoch;
    if (opened.empty()) report.inherited = inherited, report.inherited_from = inherited_from;
  }
};

}  // namespace daarion::test
