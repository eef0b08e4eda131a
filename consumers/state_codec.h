// Parts of State <-> bytes, one per key. The digest of a state is made of these bytes.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "controlplane/core/result.h"
#include "controlplane/core/state.h"

namespace daarion {

inline constexpr std::uint32_t kStateSchema = 5;  // of proto/daarion/v1/state.proto; digests compare only at equal schema

/// The value under `key`, or nothing if the state has none there.
std::optional<std::string> encode_part(const State& state, const StateKey& key);
/// The same into `out`, which is emptied first; false if the state has none.
bool encode_part(const State& state, const StateKey& key, std::string& out);
/// Puts the value under `key` into the state. Errors: kStop, naming the key, if the bytes are not that part.
Result<void> decode_part(State& state, const StateKey& key, const std::string& bytes);

/// Every key that has a value.
std::vector<StateKey> keys_of(const State& state);

/// "member/node1". The reverse; errors: nothing if it is no such text.
std::string key_text(const StateKey& key);
void key_text(const StateKey& key, std::string& out);
std::optional<StateKey> parse_key(const std::string& text);

}  // namespace daarion
