// What daarionctl's exit codes mean. Scripts depend on them: none is ever renumbered.
#pragma once

namespace daarion {

enum class ExitCode {
  kOk = 0,
  kFailed = 1,
  kUsage = 2,
  kUnreachable = 3,
  kDegraded = 4,
  kRefused = 5,           // or no quorum
  kPreconditionMoved = 6,
  kTimedOut = 7,          // may have happened
};

}  // namespace daarion
