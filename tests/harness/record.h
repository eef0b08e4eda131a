// Where runs leave what they found: the ledger of coverage, and tables in documents. Claims are made from these alone.
#pragma once

#include <string>

namespace daarion::test {

/// One line of a ledger.
struct LedgerLine {
  std::string tier;    // "sim", "chaos", ...
  std::string volume;  // "77006 seeds, 929.6 simulated hours"
  unsigned long long faults = 0;
  std::string result;  // "0 violations"
};

/// Appends "commit date tier volume faults result", separated by tabs; the first line of a new file names them. An empty path: nothing to do.
/// Returns false, having said why on stderr, if it cannot be written.
bool append_ledger(const std::string& path, const LedgerLine& line);

/// Puts `text` between the lines "<!-- NAME: begin -->" and "<!-- NAME: end -->" of a document. Returns false, having said why on stderr, if it
/// does not have them.
bool put_table(const std::string& document, const std::string& name, const std::string& text);

}  // namespace daarion::test
