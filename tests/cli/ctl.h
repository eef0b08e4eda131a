// daarionctl as a person or a script runs it: a process with arguments, an environment, two outputs and an exit code.
#pragma once

#include <string>
#include <vector>

namespace daarion::test {

struct Ran {
  int code = -1;      // -1: it did not end within 30 s
  std::string out, err;
};

/// Runs it with nothing of the caller's environment but `env` ("NAME=value"), USER=ann and PATH.
Ran daarionctl(const std::vector<std::string>& args, const std::vector<std::string>& env = {});

/// The same at a terminal, where somebody types this line.
Ran daarionctl_typed(const std::string& line, const std::vector<std::string>& args, const std::vector<std::string>& env = {});

/// The same, ended (SIGTERM) once its output has `lines` lines or after 10 s: for what never ends by itself.
Ran daarionctl_until(std::size_t lines, const std::vector<std::string>& args, const std::vector<std::string>& env = {});

}  // namespace daarion::test
