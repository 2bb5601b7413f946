#include "tools/interrupt.h"

#include <unistd.h>

#include <csignal>

namespace hone::tools {
namespace {

constexpr unsigned kGraceSeconds = 2;

volatile std::sig_atomic_t g_signal = 0;

extern "C" void hone_on_interrupt(int signal) {
  if (g_signal != 0) _exit(128 + signal);
  g_signal = signal;
  alarm(kGraceSeconds);
}

extern "C" void hone_on_alarm(int) { _exit(interrupt_status()); }

void handle(void (*interrupt)(int), void (*alarm)(int)) {
  std::signal(SIGINT, interrupt);
  std::signal(SIGTERM, interrupt);
  std::signal(SIGALRM, alarm);
}

}  // namespace

InterruptGuard::InterruptGuard() { handle(hone_on_interrupt, hone_on_alarm); }

InterruptGuard::~InterruptGuard() { handle(SIG_DFL, interrupted() ? hone_on_alarm : SIG_DFL); }

bool interrupted() { return g_signal != 0; }

int interrupt_status() { return 128 + (g_signal != 0 ? g_signal : SIGINT); }

}  // namespace hone::tools
