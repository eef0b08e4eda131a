// Plain structs <-> the wire form of protobuf, by the field numbers in describe(): what proto/daarion/v1/*.proto says, read and
// written straight from and to our structs. Filling generated messages first and copying them by reflection cost a third of a fold;
// the tests hold every struct against the generated code in both directions, byte for byte.
//
// Strict on the way in: an unknown field, an unknown enum value, a field that appears twice or an id that is not 16 bytes is an
// error, because a fold that skipped what it does not understand would be another state.
#pragma once

#include <endian.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "controlplane/core/types.h"

namespace daarion::wire {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::io::CodedOutputStream;

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

template <class T>
inline constexpr bool kIsVarint = std::is_integral_v<T> || std::is_enum_v<T> || std::is_same_v<T, Duration> || IsStrongNumber<T>::value;
template <class T>
inline constexpr bool kIsText = std::is_same_v<T, std::string> || IsStrongString<T>::value;
/// Everything else is a message of its own.
template <class T>
inline constexpr bool kIsMessage = !kIsVarint<T> && !kIsText<T> && !IsStrongId<T>::value && !IsVector<T>::value && !IsMap<T>::value;

inline constexpr unsigned kVarint = 0, kBytes = 2;  // wire types

/// A number as 8 bytes, big-endian.
inline void put_number(char* to, std::uint64_t n) {
  n = htobe64(n);
  std::memcpy(to, &n, sizeof n);
}
inline std::uint64_t number_at(const char* from) {
  std::uint64_t n = 0;
  std::memcpy(&n, from, sizeof n);
  return be64toh(n);
}

/// 16 bytes, big-endian.
std::array<char, 16> id_bytes(std::uint64_t hi, std::uint64_t lo);
/// Errors: false if it is not 16 bytes, or all zero: "none" is an absent field.
bool parse_id_bytes(std::string_view bytes, std::uint64_t& hi, std::uint64_t& lo);
bool is_utf8(const std::string& text);

/// A map is a repeated message of key and value.
template <class K, class V>
struct Entry {
  K key{};
  V value{};
};
template <class A, class K, class V>
void describe(A& a, Entry<K, V>& x) { a(1, x.key); a(2, x.value); }
template <class A, class K, class V>
void describe(A& a, const Entry<K, V>& x) { a(1, x.key); a(2, x.value); }

/// Appends a struct to `out`, deterministically: fields in the order of describe(), which is that of their numbers.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  template <class T>
  void operator()(int number, const T& value) {
    if constexpr (IsMap<T>::value) {
      for (const auto& [key, mapped] : value) message(number, Entry<const typename T::key_type&, const typename T::mapped_type&>{key, mapped});
    } else if constexpr (!IsVector<T>::value) {
      single(number, value);
    } else if constexpr (kIsVarint<typename T::value_type>) {
      if (value.empty()) return;
      const std::size_t begun = begin(number);
      for (const auto& element : value) varint(to_varint(element));
      end(begun);
    } else {
      for (const auto& element : value) repeated(number, element);
    }
  }

  /// One of several messages; the first alternative has number `first`, and so on.
  template <class... Ts>
  void one_of(int first, const std::variant<Ts...>& value) {
    std::visit([&](const auto& alternative) { message(first + static_cast<int>(value.index()), alternative); }, value);
  }

 private:
  template <class T>
  static std::uint64_t to_varint(const T& v) {
    if constexpr (std::is_enum_v<T>) return static_cast<std::uint64_t>(v) + 1;  // 0 is "unspecified"
    else if constexpr (std::is_same_v<T, Duration>) return static_cast<std::uint64_t>(v.count());
    else if constexpr (IsStrongNumber<T>::value) return v.value;
    else return static_cast<std::uint64_t>(static_cast<std::int64_t>(v));
  }
  static const std::string& text_of(const std::string& v) { return v; }
  template <class Tag>
  static const std::string& text_of(const StrongString<Tag>& v) { return v.value; }

  void varint(std::uint64_t v) {
    if (v < 0x80) return out_.push_back(static_cast<char>(v));
    std::array<std::uint8_t, 10> bytes;
    const std::uint8_t* end = CodedOutputStream::WriteVarint64ToArray(v, bytes.data());
    out_.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(end - bytes.data()));
  }
  void tag(int number, unsigned type) { varint(static_cast<std::uint64_t>(number) << 3 | type); }
  void text(int number, std::string_view v) {
    tag(number, kBytes);
    varint(v.size());
    out_.append(v);
  }
  /// What is not there has its default value.
  template <class T>
  void single(int number, const T& v) {
    if constexpr (kIsVarint<T>) {
      const std::uint64_t n = to_varint(v);
      if (n == 0) return;
      tag(number, kVarint);
      varint(n);
    } else if constexpr (kIsText<T>) {
      if (!text_of(v).empty()) words(number, text_of(v));
    } else if constexpr (IsStrongId<T>::value) {
      if (v.empty()) return;
      const auto bytes = id_bytes(v.hi, v.lo);
      text(number, {bytes.data(), bytes.size()});
    } else {
      message(number, v);
    }
  }
  template <class T>
  void repeated(int number, const T& v) {
    if constexpr (kIsText<T>) words(number, text_of(v));
    else message(number, v);
  }
  /// Readers refuse text that is no UTF-8, and nobody could read an event past it: what another program said in its own letters becomes readable here.
  void words(int number, const std::string& v) {
    text(number, v);
    const auto is_high = [](char c) { return (static_cast<unsigned char>(c) & 0x80) != 0; };
    if (std::none_of(v.begin(), v.end(), is_high) || is_utf8(v)) return;
    std::replace_if(out_.end() - static_cast<std::ptrdiff_t>(v.size()), out_.end(), is_high, '?');
  }
  template <class T>
  void message(int number, const T& v) {
    const std::size_t begun = begin(number);
    describe(*this, v);
    end(begun);
  }
  /// Leaves one byte for the length, which most messages fit.
  std::size_t begin(int number) {
    tag(number, kBytes);
    out_ += '\0';
    return out_.size();
  }
  void end(std::size_t begun) {
    const std::size_t size = out_.size() - begun;
    if (size < 0x80) {
      out_[begun - 1] = static_cast<char>(size);
      return;
    }
    std::array<std::uint8_t, 10> bytes;
    const std::uint8_t* past = CodedOutputStream::WriteVarint64ToArray(size, bytes.data());
    out_.replace(begun - 1, 1, reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(past - bytes.data()));
  }

  std::string& out_;
};

/// Reads the fields of one message into a struct. `what` says the first thing that it does not understand.
class Reader {
 public:
  Reader(std::string_view bytes, const Descriptor& type, std::string& what) : at_(bytes.data()), end_(at_ + bytes.size()), type_(type), what_(what) {}

  /// Up to the end of the bytes; false if `what` has a reason.
  template <class T>
  bool read(T& value) {
    Absent absent;
    describe(absent, value);
    while (at_ != end_) {
      std::uint64_t tag = 0;
      if (!raw_varint(tag) || tag > UINT32_MAX || tag >> 3 == 0) return truncated();
      number_ = static_cast<int>(tag >> 3);
      wire_ = tag & 7;
      taken_ = false;
      describe(*this, value);
      if (!what_.empty()) return false;
      if (!taken_) return bad(type_.name() + " has a field that this software does not know (" + std::to_string(number_) + ")");
    }
    Missing missing{*this};
    describe(missing, value);
    return what_.empty();
  }

  template <class T>
  void operator()(int number, T& value) {
    if (number != number_) return;
    if constexpr (IsVector<T>::value) {
      using Element = typename T::value_type;
      if constexpr (kIsVarint<Element>) {
        if (wire_ == kBytes) packed(value);
        else varint(value.emplace_back());
      } else {
        single(value.emplace_back());
      }
    } else if constexpr (IsMap<T>::value) {
      Entry<typename T::key_type, typename T::mapped_type> entry;
      single(entry);
      if (!value.empty() && !(value.rbegin()->first < entry.key)) bad(name(number) + " has keys twice or out of order");
      value.emplace(std::move(entry.key), std::move(entry.value));
    } else if (once()) {
      single(value);
    }
  }

  template <class... Ts>
  void one_of(int first, std::variant<Ts...>& value) {
    // Most fields are none of them: with each, a walk past all alternatives would cost more than the field.
    if (number_ >= first && number_ < first + static_cast<int>(sizeof...(Ts))) alternative<0>(first, value);
  }

 private:
  /// What is not there has the wire's default value, whatever a new struct has.
  struct Absent {
    template <class T>
    void operator()(int, T& v) {
      if constexpr (!kIsMessage<T> && !std::is_enum_v<T>) v = T{};
    }
    template <class... Ts>
    void one_of(int, std::variant<Ts...>&) {}
  };
  /// Names what must be there: a message, an enum.
  struct Missing {
    Reader& reader;
    template <class T>
    void operator()(int number, T&) {
      if constexpr (kIsMessage<T> || std::is_enum_v<T>)
        if (!reader.has(number)) reader.bad(reader.name(number) + " is missing");
    }
    template <class... Ts>
    void one_of(int first, std::variant<Ts...>&) {
      for (int number = first; number < first + static_cast<int>(sizeof...(Ts)); ++number)
        if (reader.has(number)) return;
      reader.bad("its type is unknown to this software, or missing");
    }
  };

  bool has(int number) const { return (seen_ >> number & 1) != 0; }
  std::string name(int number) const {
    const FieldDescriptor* f = type_.FindFieldByNumber(number);
    return f == nullptr ? type_.full_name() + " field " + std::to_string(number) : f->full_name();
  }
  bool bad(std::string what) {
    if (what_.empty()) what_ = std::move(what);
    return false;
  }
  bool truncated() { return bad("its bytes are truncated or not a " + type_.name()); }
  bool once() {
    taken_ = true;
    if (has(number_)) return bad(name(number_) + " is there twice");
    seen_ |= std::uint64_t{1} << number_;
    return true;
  }

  template <std::size_t I, class... Ts>
  void alternative(int first, std::variant<Ts...>& value) {
    if constexpr (I < sizeof...(Ts)) {
      if (number_ != first + static_cast<int>(I)) return alternative<I + 1>(first, value);
      if (once()) single(value.template emplace<I>());
    }
  }

  template <class T>
  void varint(T& v) {
    taken_ = wire_ == kVarint;
    if (taken_) number(v);
  }
  template <class T>
  void number(T& v) {
    std::uint64_t n = 0;
    if (!raw_varint(n)) return void(truncated());
    if constexpr (std::is_enum_v<T>) {
      const FieldDescriptor* f = type_.FindFieldByNumber(number_);
      const int value = static_cast<int>(n);
      if (value <= 0 || f->enum_type()->FindValueByNumber(value) == nullptr)
        return void(bad(f->full_name() + " is " + std::to_string(value) + ", which this software does not know"));
      v = static_cast<T>(value - 1);
    } else if constexpr (std::is_same_v<T, Duration>) {
      v = Duration(static_cast<std::int64_t>(n));
    } else if constexpr (IsStrongNumber<T>::value) {
      v.value = n;
    } else if constexpr (std::is_same_v<T, bool>) {
      v = n != 0;
    } else {
      v = static_cast<T>(n);
    }
  }
  /// Up to ten bytes; false at the end of the bytes.
  bool raw_varint(std::uint64_t& v) {
    v = 0;
    for (unsigned shift = 0; shift < 70 && at_ != end_; shift += 7) {
      const auto byte = static_cast<std::uint8_t>(*at_++);
      v |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  /// The bytes of a field that says its length; nothing if that is more than there is.
  bool bytes(std::string_view& out) {
    taken_ = wire_ == kBytes;
    if (!taken_) return false;
    std::uint64_t size = 0;
    if (!raw_varint(size) || size > static_cast<std::uint64_t>(end_ - at_)) return truncated();
    out = {at_, static_cast<std::size_t>(size)};
    at_ += size;
    return true;
  }
  template <class E>
  void packed(std::vector<E>& values) {
    std::string_view all;
    if (!bytes(all)) return;
    const char* const outer = std::exchange(end_, at_);
    at_ = all.data();
    while (at_ != end_ && what_.empty()) number(values.emplace_back());
    at_ = std::exchange(end_, outer);
  }
  template <class T>
  void single(T& v) {
    if constexpr (kIsVarint<T>) {
      varint(v);
    } else if constexpr (kIsText<T>) {
      std::string& into = text_of(v);
      std::string_view text;
      if (!bytes(text)) return;
      into.assign(text);
      if (!is_utf8(into)) bad(name(number_) + " is not UTF-8");
    } else if constexpr (IsStrongId<T>::value) {
      std::string_view id;
      if (bytes(id) && !parse_id_bytes(id, v.hi, v.lo)) bad(name(number_) + " is no id of 16 bytes");
    } else {
      std::string_view message;
      if (bytes(message)) Reader(message, *type_.FindFieldByNumber(number_)->message_type(), what_).read(v);
    }
  }
  static std::string& text_of(std::string& v) { return v; }
  template <class Tag>
  static std::string& text_of(StrongString<Tag>& v) { return v.value; }

  const char* at_;           // the next byte
  const char* end_;
  const Descriptor& type_;
  std::string& what_;
  std::uint64_t seen_ = 0;   // a bit per field number: those of ours are below 64
  int number_ = 0;           // of the field being read
  unsigned wire_ = 0;
  bool taken_ = false;
};

inline constexpr std::size_t kUsualBytes = 256;

/// Appends the bytes of a struct.
template <class T>
void write(const T& value, std::string& out) {
  Writer writer(out);
  describe(writer, value);
}
template <class T>
std::string write(const T& value) {
  std::string out;
  out.reserve(kUsualBytes);
  write(value, out);
  return out;
}

/// Reads the bytes of message `type` into a new struct. Returns what it does not understand; empty: all is read.
template <class T>
std::string read(std::string_view bytes, const Descriptor& type, T& value) {
  std::string what;
  Reader(bytes, type, what).read(value);
  return what;
}

}  // namespace daarion::wire
