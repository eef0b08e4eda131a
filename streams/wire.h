// Plain structs <-> protobuf messages, by the field numbers in describe(). The bytes are protobuf's own; this only copies members
// into the generated message's fields by reflection, so there is one description of a struct and not two conversions.
//
// Strict on the way in: an unknown field, an unknown enum value or an id that is not 16 bytes is an error, because a fold that
// skipped what it does not understand would be another state.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "controlplane/core/types.h"

namespace daarion::wire {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

template <class T>
struct IsStrongString : std::false_type {};
template <class Tag>
struct IsStrongString<StrongString<Tag>> : std::true_type {};
template <class T>
struct IsStrongNumber : std::false_type {};
template <class Tag>
struct IsStrongNumber<StrongNumber<Tag>> : std::true_type {};
template <class T>
struct IsStrongId : std::false_type {};
template <class Tag>
struct IsStrongId<StrongId<Tag>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class E>
struct IsVector<std::vector<E>> : std::true_type {};
template <class T>
struct IsMap : std::false_type {};
template <class K, class V>
struct IsMap<std::map<K, V>> : std::true_type {};

/// 16 bytes, big-endian; empty for "none".
std::string id_bytes(std::uint64_t hi, std::uint64_t lo);
/// Errors: false if it is neither empty nor 16 bytes.
bool parse_id_bytes(const std::string& bytes, std::uint64_t& hi, std::uint64_t& lo);

/// Copies a struct into a message.
class Writer {
 public:
  explicit Writer(Message& message) : m_(message), r_(*message.GetReflection()) {}

  template <class T>
  void operator()(int number, const T& value) {
    const FieldDescriptor* f = m_.GetDescriptor()->FindFieldByNumber(number);
    if constexpr (IsVector<T>::value) {
      for (const auto& element : value) add(f, element);
    } else if constexpr (IsMap<T>::value) {
      for (const auto& [key, element] : value) {
        Writer entry(*r_.AddMessage(&m_, f));
        entry(1, key);
        entry(2, element);
      }
    } else {
      set(f, value);
    }
  }

 private:
  template <class T>
  void set(const FieldDescriptor* f, const T& v) {
    if constexpr (std::is_same_v<T, bool>) r_.SetBool(&m_, f, v);
    else if constexpr (std::is_enum_v<T>) r_.SetEnumValue(&m_, f, static_cast<int>(v) + 1);
    else if constexpr (std::is_same_v<T, std::uint32_t>) r_.SetUInt32(&m_, f, v);
    else if constexpr (std::is_same_v<T, std::int32_t>) r_.SetInt32(&m_, f, v);
    else if constexpr (std::is_same_v<T, std::uint64_t>) r_.SetUInt64(&m_, f, v);
    else if constexpr (std::is_same_v<T, std::int64_t>) r_.SetInt64(&m_, f, v);
    else if constexpr (std::is_same_v<T, Duration>) r_.SetInt64(&m_, f, v.count());
    else if constexpr (std::is_same_v<T, std::string>) r_.SetString(&m_, f, v);
    else if constexpr (IsStrongString<T>::value) r_.SetString(&m_, f, v.value);
    else if constexpr (IsStrongNumber<T>::value) r_.SetUInt64(&m_, f, v.value);
    else if constexpr (IsStrongId<T>::value) r_.SetString(&m_, f, id_bytes(v.hi, v.lo));
    else {
      Writer inner(*r_.MutableMessage(&m_, f));
      describe(inner, v);
    }
  }
  template <class T>
  void add(const FieldDescriptor* f, const T& v) {
    if constexpr (std::is_same_v<T, std::string>) r_.AddString(&m_, f, v);
    else if constexpr (IsStrongString<T>::value) r_.AddString(&m_, f, v.value);
    else if constexpr (IsStrongNumber<T>::value) r_.AddUInt64(&m_, f, v.value);
    else if constexpr (std::is_same_v<T, std::int64_t>) r_.AddInt64(&m_, f, v);
    else {
      Writer inner(*r_.AddMessage(&m_, f));
      describe(inner, v);
    }
  }

  Message& m_;
  const Reflection& r_;
};

/// Copies a message into a struct. `ok` turns false, and `what` names the field, at the first thing it does not understand.
class Reader {
 public:
  Reader(const Message& message, std::string& what) : m_(message), r_(*message.GetReflection()), what_(what) {
    if (r_.GetUnknownFields(m_).field_count() != 0)
      bad(m_.GetDescriptor()->name() + " has a field that this software does not know (" +
          std::to_string(r_.GetUnknownFields(m_).field(0).number()) + ")");
  }

  template <class T>
  void operator()(int number, T& value) {
    const FieldDescriptor* f = m_.GetDescriptor()->FindFieldByNumber(number);
    if constexpr (IsVector<T>::value) {
      value.resize(static_cast<std::size_t>(r_.FieldSize(m_, f)));
      for (int i = 0; i < r_.FieldSize(m_, f); ++i) element(f, i, value[static_cast<std::size_t>(i)]);
    } else if constexpr (IsMap<T>::value) {
      for (int i = 0; i < r_.FieldSize(m_, f); ++i) {
        typename T::key_type key;
        typename T::mapped_type mapped;
        Reader entry(r_.GetRepeatedMessage(m_, f, i), what_);
        entry(1, key);
        entry(2, mapped);
        value.emplace(std::move(key), std::move(mapped));
      }
    } else {
      get(f, value);
    }
  }

 private:
  void bad(std::string what) {
    if (what_.empty()) what_ = std::move(what);
  }
  void id(const FieldDescriptor* f, const std::string& bytes, std::uint64_t& hi, std::uint64_t& lo) {
    if (!parse_id_bytes(bytes, hi, lo)) bad(f->full_name() + " is no id of 16 bytes");
  }

  template <class T>
  void get(const FieldDescriptor* f, T& v) {
    if constexpr (std::is_same_v<T, bool>) v = r_.GetBool(m_, f);
    else if constexpr (std::is_enum_v<T>) {
      const int number = r_.GetEnumValue(m_, f);
      if (number <= 0 || f->enum_type()->FindValueByNumber(number) == nullptr)
        bad(f->full_name() + " is " + std::to_string(number) + ", which this software does not know");
      v = static_cast<T>(number - 1);
    }
    else if constexpr (std::is_same_v<T, std::uint32_t>) v = r_.GetUInt32(m_, f);
    else if constexpr (std::is_same_v<T, std::int32_t>) v = r_.GetInt32(m_, f);
    else if constexpr (std::is_same_v<T, std::uint64_t>) v = r_.GetUInt64(m_, f);
    else if constexpr (std::is_same_v<T, std::int64_t>) v = r_.GetInt64(m_, f);
    else if constexpr (std::is_same_v<T, Duration>) v = Duration(r_.GetInt64(m_, f));
    else if constexpr (std::is_same_v<T, std::string>) v = r_.GetString(m_, f);
    else if constexpr (IsStrongString<T>::value) v.value = r_.GetString(m_, f);
    else if constexpr (IsStrongNumber<T>::value) v.value = r_.GetUInt64(m_, f);
    else if constexpr (IsStrongId<T>::value) id(f, r_.GetString(m_, f), v.hi, v.lo);
    else {
      if (!r_.HasField(m_, f)) return bad(f->full_name() + " is missing");
      Reader inner(r_.GetMessage(m_, f), what_);
      describe(inner, v);
    }
  }
  template <class T>
  void element(const FieldDescriptor* f, int i, T& v) {
    if constexpr (std::is_same_v<T, std::string>) v = r_.GetRepeatedString(m_, f, i);
    else if constexpr (IsStrongString<T>::value) v.value = r_.GetRepeatedString(m_, f, i);
    else if constexpr (IsStrongNumber<T>::value) v.value = r_.GetRepeatedUInt64(m_, f, i);
    else if constexpr (std::is_same_v<T, std::int64_t>) v = r_.GetRepeatedInt64(m_, f, i);
    else {
      Reader inner(r_.GetRepeatedMessage(m_, f, i), what_);
      describe(inner, v);
    }
  }

  const Message& m_;
  const Reflection& r_;
  std::string& what_;
};

}  // namespace daarion::wire
