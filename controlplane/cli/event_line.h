// One event as one line, as events, switchover and why print it.
#pragma once

#include <string>

namespace daarion::v1 {
class EventView;
}

namespace daarion {

/// "   812  2026-11-24 08:27:41.123  PromotionDecided     postgres e8  failover to node2 ...  (node1 is silent)  node3", with its end of line.
std::string event_line(const v1::EventView& event);

}  // namespace daarion
