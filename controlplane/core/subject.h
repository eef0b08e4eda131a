// NATS subjects and patterns: tokens between dots; in a pattern "*" stands for one token and a last ">" for one or more.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "controlplane/core/types.h"

namespace daarion {

/// In a rule's pattern: the node's own id.
inline constexpr std::string_view kNodeToken = "{node_id}";

/// The tokens, as views into `subject`; an empty subject has one empty token.
std::vector<std::string_view> tokens_of(std::string_view subject);

/// Whether it ends in "dlq": what could not be worked on, kept with its rule's messages and never taken for work.
bool is_dead_letter(std::string_view subject);

/// Whether a message can be published under it: no empty token, no wildcard, no white space or control character.
bool is_subject(std::string_view subject);
/// Whether it can be subscribed to: as a subject, with wildcards that are whole tokens, ">" only as the last.
bool is_pattern(std::string_view pattern);

/// Whether the pattern takes the subject. Pre: is_pattern(pattern), is_subject(subject).
bool matches(std::string_view pattern, std::string_view subject);
/// Whether some subject is taken by both. Pre: both are patterns.
bool overlap(std::string_view a, std::string_view b);
/// Whether `wide` takes every subject that `narrow` takes. Pre: both are patterns.
bool covers(std::string_view wide, std::string_view narrow);

/// A pattern as it is meant: "message.*" is every subject below "message", so "message.>"; NATS itself would read it as exactly one more
/// token. Other patterns are what they are.
std::string as_prefix(const std::string& pattern);
/// Whether NATS would read the pattern otherwise than it is meant.
bool read_otherwise(const std::string& pattern);

/// The pattern with every {node_id} token replaced.
std::string with_node(std::string_view pattern, std::string_view node);
bool has_node_token(std::string_view pattern);

}  // namespace daarion
