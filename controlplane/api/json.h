// One mapping of the API's messages to JSON: snake_case names as declared, numbers as numbers, absent optional fields as null,
// ids as UUIDs, enums as lower-case words.
#pragma once

#include <string>

namespace google::protobuf {
class Message;
}

namespace daarion {

std::string to_json(const google::protobuf::Message& message, int indent = -1);

}  // namespace daarion
