// What every command is given: where to ask, how long, and how to print.
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "controlplane/cli/exit_code.h"

namespace daarion {

struct Globals {
  std::vector<std::string> servers;   // --server, else DAARION_SERVER
  std::string context;                // --context, else DAARION_CONFIG: a cluster file
  double timeout_s = 30;              // of a call and of what is waited for
  std::string form = "table";         // table | json | yaml; markdown where a command has it
};

/// Why a command did not succeed: one line for people, and the exit code that scripts see.
struct CallError {
  ExitCode code = ExitCode::kFailed;
  std::string message;
};
template <class T>
using Answer = tl::expected<T, CallError>;

inline tl::unexpected<CallError> refuse(ExitCode code, std::string message) { return tl::unexpected<CallError>(CallError{code, std::move(message)}); }

/// What is wrong with a sequence as it was typed; empty: nothing. For CLI11's check().
std::string wrong_sequence(const std::string& text);

/// "daarionctl: <message>" to stderr, on one line; returns the code.
ExitCode say(const CallError& error);

}  // namespace daarion
