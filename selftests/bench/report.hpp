// SPDX-License-Identifier: BSD-2-Clause
//
// What was measured, as a table for the README and as JSON for programs.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace mstack::bench {

// What one thing measured in each round. Rounds are in step: the i-th value of every series is of the i-th round, in
// which they were measured one after the other.
struct Series {
  std::string name;
  std::string unit;
  std::vector<double> rounds = {};
  [[nodiscard]] double median() const;
};

// One row: a series, and if `against` is given how many times that it is: the median of the rounds' ratios.
struct Row {
  std::string what;
  Series measured;
  std::optional<Series> against = {};
  std::string aim = {};
  std::vector<Series> also = {};  // the same under other conditions, shown beside the first
};

// Date, kernel and CPUs, and what makes calls in the kernel dear.
[[nodiscard]] std::string machine_line();

class Report {
 public:
  // What was not measured is left out.
  void add(Row row) {
    if (row.measured.rounds.empty()) return;
    if (row.against && row.against->rounds.empty()) row.against.reset();
    rows_.push_back(std::move(row));
  }
  void note(std::string text) { notes_.push_back(std::move(text)); }

  [[nodiscard]] std::string markdown(const std::string& command) const;
  [[nodiscard]] std::string json(const std::string& command) const;

 private:
  std::vector<Row> rows_;
  std::vector<std::string> notes_;
};

}  // namespace mstack::bench
