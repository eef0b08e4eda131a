// What this software is: the version, and the commit that it was built of. In a file of its own, so that a commit alone compiles nothing else anew.
#pragma once

namespace daarion {

extern const char* const kVersion;  // "0.1.0"
extern const char* const kCommit;   // twelve digits; "unknown" outside a checkout

}  // namespace daarion
