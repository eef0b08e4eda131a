// One event as one line, as events, switchover, why and the history of chaos print it; and text of strangers, safe to print.
#pragma once

#include <string>

namespace daarion::v1 {
class EventView;
}

namespace daarion {

/// Control characters as '?'.
std::string clean(const std::string& text);

/// "   812  2026-11-24 08:27:41.123  PromotionDecided     postgres e8  failover to node2 ...  (node1 is silent)  node3", with its end of line.
std::string event_line(const v1::EventView& event);

}  // namespace daarion
