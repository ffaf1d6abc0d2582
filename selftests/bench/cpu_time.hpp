// SPDX-License-Identifier: BSD-2-Clause
//
// What a CPU, and tasks on it, have done so far.
#pragma once

#include <sys/types.h>

#include <span>

namespace mstack::bench {

// Seconds in which the CPU was not idle, interrupts and softirqs included, and what a hypervisor took left out. From
// /proc/stat's idle time, which the kernel measures; its user and system times it guesses by ticks.
double busy_seconds(unsigned cpu);

// Seconds on any CPU, measured by the scheduler: with all softirqs that ran in the tasks' contexts.
double task_seconds(std::span<const pid_t> tasks);

}  // namespace mstack::bench
