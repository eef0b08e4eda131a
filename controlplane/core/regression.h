// Log regression: the log ends before events that some node has folded, or has others in their places. What a power cut does to two of
// three servers that had not synced their files, or a backup that was restored.
//
// THE ARGUMENT. Two never write, because of promises alone, which are in the voters' own records and look at no log (lease.h). What a lost
// tail can harm is order and agreement, and these rules keep them:
//   judged       A node believes that its fold is not of this log any more only when the stream's leader, itself in touch with a majority of
//                replicas, said so twice, a beat apart, of an event by its id (log_judge.h). A wrong judgement costs a replay, and nothing else:
//                the log that is folded anew is the log.
//   folds anew   From event 1, beside the state that it had. Until the new fold has reached the log's end, the old one serves leases,
//                roles and routes as before, its beats name no sequence, and it appends and decides nothing: a version or an epoch
//                taken from events that are gone would be a wrong one.
//   epochs       The log's newest epoch may go back; what voters promised and folded does not: votes name the highest of record, floor and
//                fold, a voter acks nothing below its floor, so the next decision is above every epoch that was ever earned.
//   said again   A holder whose lease lives and whose epoch the log does not show (any more) has itself decided again, under an epoch
//                above its own: the same session, so nothing changes but the log. Nobody else can be promoted meanwhile: the promises live.
//                Replicas that hear it write leave their engines as they are until then.
//   data         A timeline that the log does not show, and that a session opened, counts as history in a decision: the data say who opened it,
//                also those of a replica whose upstream is lost. It is never told to the log as completed under an epoch that was not its own:
//                voters end older promises on that word.
//   void         An append that was on its way may be stored with a version that is too high now. It says nothing, and its aggregate steps
//                over it when its turn comes: else nobody could ever append that version.
//   pauses       Numbers of Paused and Resumed are sequences, and a lost tail's are given again. A holder that folds anew forgets which
//                Resumed it was armed for, and counts no ack of an older beat towards a pause; a voter's endless promise stays so until a
//                beat names a Resumed above the Paused that it recorded.
//   replicas     A server that was away keeps what the log lost, beside what came later. It is looked at when it is back, and its replica made again
//                (log_replicas.h); until then leaders are not asked to hand over. If it is elected before that, the log is its log: judged as
//                before, and folded anew.
//   a log's id   A log that another LogCreated begins is another log, whatever it holds: voters fall silent (voter.h). An empty log is not
//                begun anew by a node whose record names a log: it waits for the log to be restored.
//
// WORKED EXAMPLE. Nodes 1 and 2 folded to 122, node 3 to 99; two servers come back with a log that ends at 100.
//   0.00  node 2, which writes under epoch 7 (decided at 101): "122 is not there", again at 0.25; folds anew, beats go on
//   0.27  it has folded 100 events, and the log shows epoch 6 on node 1: LogRegressed{folded 122, head 100, "101 PromotionDecided ..."}
//         at 101, and PromotionDecided{epoch 8, to itself, its own session, keep} at 102
//   0.30  node 1 folds anew; its epoch 6 ended long ago: LeaseReleased again at 103. Node 3 has only folded on: the same state everywhere
#pragma once

#include <deque>
#include <string>
#include <string_view>

#include "controlplane/core/event.h"

namespace daarion {

/// A folded event by name: what the log is held against, and what is told of it when the log has lost it.
struct EventHead {
  Sequence sequence;
  EventId id;
  std::string type;     // "PromotionDecided"
  std::string subject;  // "lease.postgres.12"
  Epoch epoch;
  std::int64_t stored_ns = 0;  // when the log stored it; 0: not known

  /// Whether the message of that Nats-Msg-Id, stored then, is this event. An append that is tried again has the same id and is stored once, but two
  /// servers may each keep another try: the time tells them apart.
  bool is(std::string_view message_id, std::int64_t stored) const;
  bool operator==(const EventHead&) const = default;
};

/// The newest events folded, in order.
using EventHeads = std::deque<EventHead>;

inline constexpr std::size_t kHeads = 256;         // kept: more than a cluster appends in nats-server's two minutes between syncs
inline constexpr std::size_t kHeadsNamed = 64;     // of lost ones, in LogRegressed: some 6 kB

/// This node's fold is not of the log any more: the events after `head`, up to `folded`, are gone or others.
struct LogLost {
  LogId log;  // its first name: what is lost may be an override, that gave it another
  Sequence folded;
  Sequence head;      // at most: where nothing older is known by name, the log's end
  std::string known;  // one line per event, oldest first
  bool operator==(const LogLost&) const = default;
};

EventHead head_of(const LogEvent& event);
void head_of(const LogEvent& event, EventHead& out);  // whatever was in it: its memory is used again

/// One line for each head after `head`, the newest kHeadsNamed of them, and how many others there were.
std::string lines_of(const EventHeads& heads, Sequence head, Sequence folded);

/// Two losses that are not yet in the log, as one.
LogLost joined(const LogLost& older, const LogLost& newer);

}  // namespace daarion
