#include "controlplane/api/json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>

namespace daarion {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Json = nlohmann::ordered_json;

Json json_of(const Message& message);

/// LEASE_PHASE_ACTIVE of LeasePhase -> "active".
std::string word_of(const google::protobuf::EnumValueDescriptor& value) {
  std::string prefix;
  for (const char c : value.type()->name()) {
    if (c >= 'A' && c <= 'Z' && !prefix.empty()) prefix += '_';
    prefix += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  std::string word = value.name().starts_with(prefix + "_") ? value.name().substr(prefix.size() + 1) : value.name();
  for (char& c : word)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return word;
}

/// 16 bytes are an id and shown as one; others as hexadecimal.
std::string bytes_text(const std::string& bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes.size() == 16 && (i == 4 || i == 6 || i == 8 || i == 10)) out += '-';
    const auto byte = static_cast<unsigned char>(bytes[i]);
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
  return out;
}

Json text_of(const FieldDescriptor* f, std::string value) {
  return f->type() == FieldDescriptor::TYPE_BYTES ? bytes_text(value) : std::move(value);
}

Json one(const Message& m, const Reflection& r, const FieldDescriptor* f) {
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: return r.GetInt32(m, f);
    case FieldDescriptor::CPPTYPE_INT64: return r.GetInt64(m, f);
    case FieldDescriptor::CPPTYPE_UINT32: return r.GetUInt32(m, f);
    case FieldDescriptor::CPPTYPE_UINT64: return r.GetUInt64(m, f);
    case FieldDescriptor::CPPTYPE_BOOL: return r.GetBool(m, f);
    case FieldDescriptor::CPPTYPE_STRING: return text_of(f, r.GetString(m, f));
    case FieldDescriptor::CPPTYPE_MESSAGE: return json_of(r.GetMessage(m, f));
    case FieldDescriptor::CPPTYPE_ENUM: return word_of(*r.GetEnum(m, f));
    default: return nullptr;  // the API has no other types
  }
}

Json element(const Message& m, const Reflection& r, const FieldDescriptor* f, int i) {
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64: return r.GetRepeatedInt64(m, f, i);
    case FieldDescriptor::CPPTYPE_UINT32: return r.GetRepeatedUInt32(m, f, i);
    case FieldDescriptor::CPPTYPE_UINT64: return r.GetRepeatedUInt64(m, f, i);
    case FieldDescriptor::CPPTYPE_STRING: return text_of(f, r.GetRepeatedString(m, f, i));
    case FieldDescriptor::CPPTYPE_MESSAGE: return json_of(r.GetRepeatedMessage(m, f, i));
    default: return nullptr;  // the API has no other lists
  }
}

Json json_of(const Message& m) {
  const Reflection& r = *m.GetReflection();
  Json out = Json::object();
  for (int i = 0; i < m.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* f = m.GetDescriptor()->field(i);
    if (f->is_repeated()) {
      Json list = Json::array();
      for (int k = 0; k < r.FieldSize(m, f); ++k) list.push_back(element(m, r, f, k));
      out[f->name()] = std::move(list);
    } else if (f->has_presence() && !r.HasField(m, f)) {
      out[f->name()] = nullptr;
    } else {
      out[f->name()] = one(m, r, f);
    }
  }
  return out;
}

}  // namespace

std::string to_json(const Message& message, int indent) { return json_of(message).dump(indent, ' ', false, Json::error_handler_t::replace); }

}  // namespace daarion
