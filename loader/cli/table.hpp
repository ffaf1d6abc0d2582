// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace mstack::cli {

// A table for people: columns as wide as they must be, two blanks apart, numbers to the right. What cannot be printed
// is shown as '?', so that nobody's name for his program reaches the terminal as a command.
class Table {
 public:
  struct Column {
    const char* title = "";
    bool right = false;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> row);  // as many cells as there are columns
  [[nodiscard]] std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace mstack::cli
