// SPDX-License-Identifier: BSD-2-Clause
#include "cli/table.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/text.hpp"

namespace mstack::cli {

void Table::add(std::vector<std::string> row) {
  row.resize(columns_.size());
  for (std::string& cell : row) cell = printable(cell);
  rows_.push_back(std::move(row));
}

std::string Table::text() const {
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < columns_.size(); ++column) {
    std::size_t width = std::string_view(columns_[column].title).size();
    for (const auto& row : rows_) width = std::max(width, row[column].size());
    widths.push_back(width);
  }
  std::string text;
  const auto add_line = [&](const auto& cell_of) {
    std::string line;
    for (std::size_t column = 0; column < columns_.size(); ++column) {
      if (column) line += "  ";
      const std::string_view cell = cell_of(column);
      line += columns_[column].right ? fmt::format("{:>{}}", cell, widths[column])
                                     : fmt::format("{:<{}}", cell, widths[column]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add_line([this](std::size_t column) { return std::string_view(columns_[column].title); });
  for (const auto& row : rows_) add_line([&row](std::size_t column) { return std::string_view(row[column]); });
  return text;
}

}  // namespace mstack::cli
