#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>

#include "base/out_of_memory.h"
#include "tools/common.h"

namespace hone::tools {
namespace {

// The exit status.
int run(int argc, char** argv) {
  CLI::App app{"Hone: optimises trained networks for the machine at hand and runs them."};
  app.require_subcommand(1);
  app.set_version_flag("--version", "hone 0.1.0");
  int exit = 0;
  add_build(app, exit);
  add_run(app, exit);
  add_bench(app, exit);
  add_verify(app, exit);
  add_compare(app, exit);
  add_profile(app, exit);
  add_inspect(app, exit);
  add_doctor(app, exit);
  add_cache(app, exit);
  add_calibrate(app, exit);
  add_quantize(app, exit);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() != 0) {
      const auto commands = app.get_subcommands();
      const bool no_command = commands.empty() && argc > 1;
      tell(fmt::format(
          "hone: error: {}\nTry: hone {}--help\n",
          no_command ? fmt::format("there is no {} '{}'", argv[1][0] == '-' ? "option" : "command", argv[1]) : e.what(),
          commands.empty() ? "" : commands.front()->get_name() + ' '));
      return 2;
    }
    app.exit(e);  // writes what --help or --version asks for
  } catch (const std::system_error& e) {
    if (std::ferror(stdout) == 0) throw;
    return report(invalid("standard output: cannot be written: {}", e.code().message()));
  }
  // What was written before may have failed, and the end not.
  if ((std::fflush(stdout) != 0 || std::ferror(stdout) != 0) && exit == 0)
    return report(invalid("standard output: cannot be written: {}", std::strerror(errno)));
  return exit;
}

}  // namespace
}  // namespace hone::tools

int main(int argc, char** argv) {
  using namespace hone::tools;
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error like a full disk
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc& e) {
    return report(hone::Code::device, hone::out_of_memory(e).c_str());
  } catch (const std::exception& e) {
    return report(hone::Code::internal, e.what());
  }
}
