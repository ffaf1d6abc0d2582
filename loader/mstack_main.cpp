// SPDX-License-Identifier: BSD-2-Clause
//
// The command `mstack`. Exit status: 0 done, 1 refused or failed, 2 usage; a failure is one line on stderr.
#include <bpf/libbpf.h>

#include <cstdio>
#include <exception>

#include "cli/options.hpp"
#include "cli/text.hpp"
#include "cli/verbs.hpp"

namespace {

int fail(const std::string& why, int exit_status) {
  std::fprintf(stderr, "mstack: %s\n", mstack::cli::printable(why).c_str());
  return exit_status;
}

// A full disk or a closed pipe must not look like success.
int print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return 0;
  return fail("cannot write the output", 1);
}

int run(int argc, char** argv) {
  libbpf_set_print(nullptr);  // it has words of its own for what is reported here once
  const auto options = mstack::cli::parse_options(argc, argv);
  if (!options) {
    const auto& [text, exit_status] = options.error();
    return exit_status == 0 ? print(text) : fail(text, exit_status);
  }
  const auto output = options->verb->run(*options);
  if (!output) return fail(output.error().what, 1);
  const int status = print(output->text);
  return status == 0 && !output->good ? 1 : status;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    return fail(error.what(), 1);
  }
}
