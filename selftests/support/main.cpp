// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>
#include <unistd.h>

#include <exception>
#include <iostream>
#include <optional>

#include "support/sandbox.hpp"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (::testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
  if (::geteuid() != 0) {
    std::cerr << "these tests make network namespaces: run them as root, as sudo ./selftests/run.sh does\n";
    return 1;
  }
  try {
    const mstack::test::Sandbox sandbox;
    return RUN_ALL_TESTS();
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
