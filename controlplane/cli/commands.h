// What main knows of the commands: one function per group, in a file of its own. Each adds its subcommands; when one is called it sets
// `code`. `globals` is filled before.
#pragma once

#include "controlplane/cli/exit_code.h"
#include "controlplane/cli/globals.h"

namespace CLI {
class App;
}

namespace daarion {

void add_status(CLI::App& app, const Globals& globals, ExitCode& code);      // status, nodes, resources, resource
void add_change(CLI::App& app, const Globals& globals, ExitCode& code);      // switchover, failover, pause, resume, drain, undrain, retire
void add_events(CLI::App& app, const Globals& globals, ExitCode& code);      // events (watch), replay
void add_why(CLI::App& app, const Globals& globals, ExitCode& code);         // why, why-not
void add_incident(CLI::App& app, const Globals& globals, ExitCode& code);    // incident
void add_state(CLI::App& app, const Globals& globals, ExitCode& code);       // state
void add_routes(CLI::App& app, const Globals& globals, ExitCode& code);      // resolve, routes
void add_services(CLI::App& app, const Globals& globals, ExitCode& code);    // services, capabilities
void add_connect(CLI::App& app, const Globals& globals, ExitCode& code);     // connect
void add_render(CLI::App& app, const Globals& globals, ExitCode& code);      // render nats
void add_lint(CLI::App& app, const Globals& globals, ExitCode& code);        // lint
void add_prestart(CLI::App& app, ExitCode& code);                            // nats-prestart
void add_completion(CLI::App& app, const Globals& globals, ExitCode& code);  // completion; last: it reads the others

}  // namespace daarion
