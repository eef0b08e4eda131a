// completion bash|zsh: made from the commands themselves, so that it never lags behind them.
#include <CLI/CLI.hpp>

#include "controlplane/cli/admin_client.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"

namespace daarion {
namespace {

/// Every option and subcommand below `command`, and whether an argument is a node or a resource.
void words_of(const CLI::App& command, std::string& words, std::string& names) {
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) words += " --" + name;
    for (const std::string& name : option->get_snames()) words += " -" + name;
    if (!option->get_positional()) continue;
    if (option->get_name() == "node") names = "nodes";
    if (option->get_name() == "resource" || option->get_name() == "what") names = "resources";
  }
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    words += " " + sub->get_name();
    words_of(*sub, words, names);
  }
}

std::string script(const CLI::App& app) {
  std::string commands, cases, globals, ignored;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* c) { return !c->get_group().empty(); })) {
    commands += (commands.empty() ? "" : " ") + command->get_name();
    std::string words, names;
    words_of(*command, words, names);
    cases += "    " + command->get_name() + ") words=\"" + words.substr(words.empty() ? 0 : 1) + "\"; names=\"" + names + "\" ;;\n";
  }
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) globals += " --" + name;
  std::string pattern = commands;
  std::ranges::replace(pattern, ' ', '|');
  return R"sh(_daarionctl() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command="" words="" names="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in )sh" + pattern + R"sh() command=${COMP_WORDS[i]}; break ;; esac
  done
  case $prev in
    --to|--from|--node) names=nodes; case $command in events|watch|replay) return ;; esac ;;
    -o|--output) words="table json yaml" ;;
    --context|--plan|--subjects) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    --reason|--server|--timeout|--request-id|--actor|--expect-seq) return ;;
    *) case $command in
    "") words=")sh" + commands + R"sh(" ;;
)sh" + cases + R"sh(    esac
    [[ $cur == -* ]] && words="$words)sh" + globals + R"sh(" ;;
  esac
  [[ -n $names && $cur != -* ]] && words="$words $(daarionctl names "$names" --timeout 1 2>/dev/null)"
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [[ $command == lint ]] && COMPREPLY+=($(compgen -f -- "$cur"))
}
complete -F _daarionctl daarionctl
)sh";
}

ExitCode print_names(const Globals& globals, const std::string& kind) {
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  const v1::Status& s = (*client)->first_status();
  if (kind == "nodes") for (const v1::NodeStatus& n : s.nodes()) print(n.id() + "\n");
  else for (const v1::ResourceStatus& r : s.resources()) print(r.id() + "\n");
  return ExitCode::kOk;
}

}  // namespace

void add_completion(CLI::App& app, const Globals& globals, ExitCode& code) {
  auto shell = std::make_shared<std::string>(), kind = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completion", "A completion script for a shell: source <(daarionctl completion bash)");
  command->add_option("shell", *shell, "bash or zsh")->required()->check(CLI::IsMember({"bash", "zsh"}));
  command->callback([shell, &app, &code] {
    print((*shell == "zsh" ? "#compdef daarionctl\nautoload -U +X bashcompinit && bashcompinit\n" : "") + script(app));
    code = ExitCode::kOk;
  });
  CLI::App* names = app.add_subcommand("names", "Names for completion scripts, one per line.");
  names->group("");  // people have `nodes` and `resources`
  names->add_option("kind", *kind)->required()->check(CLI::IsMember({"nodes", "resources"}));
  names->callback([kind, &globals, &code] { code = print_names(globals, *kind); });
}

}  // namespace daarion
