// The client library's handles with owners. Included by the .cc files of streams/ alone.
#pragma once

#include <nats/nats.h>

#include <memory>
#include <string>

#include "streams/connection.h"

namespace daarion {

template <auto Destroy>
struct Destroyer {
  template <class T>
  void operator()(T* p) const { Destroy(p); }
};
using MsgPtr = std::unique_ptr<natsMsg, Destroyer<natsMsg_Destroy>>;
using SubscriptionPtr = std::unique_ptr<natsSubscription, Destroyer<natsSubscription_Destroy>>;
using OptionsPtr = std::unique_ptr<natsOptions, Destroyer<natsOptions_Destroy>>;
using StreamInfoPtr = std::unique_ptr<jsStreamInfo, Destroyer<jsStreamInfo_Destroy>>;
using PubAckPtr = std::unique_ptr<jsPubAck, Destroyer<jsPubAck_Destroy>>;
using MetaPtr = std::unique_ptr<jsMsgMetaData, Destroyer<jsMsgMetaData_Destroy>>;

struct Connection::Handles {
  natsConnection* nc = nullptr;
  jsCtx* js = nullptr;
  std::string urls;  // for messages
};

inline std::string header_of(natsMsg* msg, const char* key) {
  const char* value = nullptr;
  return natsMsgHeader_Get(msg, key, &value) == NATS_OK && value != nullptr ? value : "";
}
inline std::string data_of(natsMsg* msg) {
  return {natsMsg_GetData(msg), static_cast<std::size_t>(natsMsg_GetDataLength(msg))};
}
inline std::int64_t to_wait_ms(Duration d) { return std::max<std::int64_t>(1, to_ms(d)); }

}  // namespace daarion
