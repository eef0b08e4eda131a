// `incident`: what one failure did to everything that its node had, read from the log.
#pragma once

#include "controlplane/api/log_views.h"

namespace daarion {

/// The incident that the event at `at` is part of, as far as the log shows it up to `head`.
/// Errors: kFixInput if it is part of none or not in the log; kRetry if the log does not answer within 3 s.
Result<v1::Incident> incident_at(const OpenReader& open, Sequence at, Sequence head);

}  // namespace daarion
