// What every fallible call returns. An Error says what the caller must do next and whether the world may have changed.
#pragma once

#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace daarion {

enum class Remedy {
  kRetry,     // the same call may succeed later
  kRefold,    // the caller's view is old: fold, then decide again
  kFixInput,  // a person has to change what was asked or configured
  kStepDown,  // the caller may not act in this role any more
  kStop,      // nothing sensible can go on
};

enum class Effect {
  kNone,   // nothing changed
  kMaybe,  // it may have happened: observe before any retry
};

/// Message: verb, object, cause, hint, on one line.
struct Error {
  Remedy remedy = Remedy::kStop;
  Effect effect = Effect::kNone;
  std::string message;
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Remedy remedy, std::string message, Effect effect = Effect::kNone) {
  return tl::unexpected<Error>(Error{remedy, effect, std::move(message)});
}

}  // namespace daarion
