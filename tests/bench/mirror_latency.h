// How long a message takes from its publisher in the core to who reads an edge's mirror, with everything on, beside a mirror with nothing on.
#pragma once

namespace daarion {

/// Says the figures, each with its limit. False: one is missed, or what was to be measured did not come about, as said on stderr.
/// `repeated` counts rounds that the machine itself disturbed.
bool mirror_latency(int& repeated);

}  // namespace daarion
