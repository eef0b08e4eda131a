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

Json one(const Message& m, const Reflection& r, const FieldDescriptor* f) {
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: return r.GetInt32(m, f);
    case FieldDescriptor::CPPTYPE_INT64: return r.GetInt64(m, f);
    case FieldDescriptor::CPPTYPE_UINT32: return r.GetUInt32(m, f);
    case FieldDescriptor::CPPTYPE_UINT64: return r.GetUInt64(m, f);
    case FieldDescriptor::CPPTYPE_BOOL: return r.GetBool(m, f);
    case FieldDescriptor::CPPTYPE_STRING: return r.GetString(m, f);
    case FieldDescriptor::CPPTYPE_MESSAGE: return json_of(r.GetMessage(m, f));
    case FieldDescriptor::CPPTYPE_ENUM: return r.GetEnum(m, f)->name();
    default: return nullptr;  // the API has no other types
  }
}

Json element(const Message& m, const Reflection& r, const FieldDescriptor* f, int i) {
  if (f->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) return json_of(r.GetRepeatedMessage(m, f, i));
  if (f->cpp_type() == FieldDescriptor::CPPTYPE_UINT64) return r.GetRepeatedUInt64(m, f, i);
  return r.GetRepeatedString(m, f, i);
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
