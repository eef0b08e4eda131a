// What an answer says of the service that gave it: by content, and not by "200" alone. Pure.
//
// Without being told, it knows what services of the field say of themselves: `status` (ok, healthy, degraded, maintenance, error ...), `ok`,
// `readiness_status`, `*_connected` and `*_reachable`, dependencies that are "disconnected", `providers` of which none is real, `loaded_models`
// of 0. Unknown fields say nothing. A field that is declared under `expect` is judged by that alone. An expectation that is not kept is
// "degraded": the service answers, and is not as it should be.
//
// What cannot be the service's own word says that the check is broken: a path that is not there, a redirect, a refusal to be asked, a body that is
// no JSON where fields are expected, an HTML page.
#pragma once

#include <string>

#include "controlplane/core/health.h"
#include "controlplane/core/topology_spec.h"
#include "controlplane/health/http_client.h"

namespace daarion {

HealthVerdict judge_http(const ServiceCheck& check, const HttpAnswer& answer);

/// Exit code 0 is healthy; 126 and 127 are the shell's word for a command that cannot be run.
HealthVerdict judge_command(const ServiceCheck& check, int exit_code, const std::string& output, const std::string& errors);

HealthVerdict service_broken(std::string cause);
HealthVerdict check_broken(std::string cause);

/// One line of ASCII, at most 120 characters: what an event or a table can hold of a text that somebody else wrote.
std::string shown(std::string text);

}  // namespace daarion
