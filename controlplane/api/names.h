// Names as people type them, folded to the ids that the log knows.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"

namespace daarion {

/// The id that `text` names: itself in lower case, or what its alias stands for. Errors: kFixInput if it is none of `known`, naming
/// the nearest one: "unknown node nod1; did you mean node1? there are: node1, node2". `kind` is what the message calls it.
Result<std::string> fold_name(const std::string& kind, const std::string& text, const std::vector<std::string>& known,
                              const std::map<std::string, NodeId>& aliases = {});

/// The one of `known` nearest to `word`, or nothing if none is near.
std::string nearest_name(const std::string& word, const std::vector<std::string>& known);

}  // namespace daarion
