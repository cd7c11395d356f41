// deno-lint-ignore-file no-explicit-any no-console -- its output is its result; `any`: see cliffy_types.ts
/** The part of `jsr:@cliffy/command@1.2.1/completions` that belljar uses. */

import { Command } from "./cliffy_command.ts";

/** `completions bash|zsh|fish`: prints a script that completes commands, options and paths. */
export class CompletionsCommand extends Command<any> {
  constructor() {
    super();
    this.description("Print a script for a shell that completes commands and options");
    for (const [shell, script] of [["bash", bash], ["zsh", zsh], ["fish", fish]] as const) {
      const printer = new Command<any>()
        .description(`Print the script for ${shell}`)
        .action(() => console.log(script(this.getMainCommand())));
      this.command(shell, printer);
    }
  }
}

interface Node {
  /** Names below the main command; empty for that itself. */
  path: string;
  commands: { name: string; description: string }[];
  options: { flags: string[]; description: string }[];
}

function nodes(command: Command<any>, path: string[] = []): Node[] {
  const below = command.getCommands();
  const help = { flags: ["-h", "--help"], description: "Show this help" };
  return [
    {
      path: path.join(" "),
      commands: below.map((sub) => ({ name: sub.getName(), description: sub.getDescription() })),
      options: [...command.getOptions(), help],
    },
    ...below.flatMap((sub) => nodes(sub, [...path, sub.getName()])),
  ];
}

/** A shell word in single quotes. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const firstLine = (text: string): string => text.split("\n", 1)[0] ?? "";
const functionName = (main: Command<any>): string => `_${main.getName().replace(/\W/g, "_")}`;

/** Finds the command that stands on the line, in bash and zsh alike. */
function findPath(all: Node[], words: string): string {
  const known = all.filter((node) => node.path).map((node) => quote(node.path)).join("|");
  return `  local at= word
  for word in ${words}; do
    case "\${at:+$at }$word" in
      ${known || "''"}) at="\${at:+$at }$word" ;;
    esac
  done`;
}

function bash(main: Command<any>): string {
  const all = nodes(main);
  const cases = all.map((node) => {
    const words = [
      ...node.commands.map(({ name }) => name),
      ...node.options.flatMap((o) => o.flags),
    ];
    return `    ${quote(node.path)}) words=${quote(words.join(" "))} ;;`;
  });
  const name = functionName(main);
  return `# bash completion for ${main.getName()}
${name}() {
  local words= current="\${COMP_WORDS[COMP_CWORD]}"
${findPath(all, '"${COMP_WORDS[@]:1:COMP_CWORD-1}"')}
  case "$at" in
${cases.join("\n")}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"; compgen -f -- "$current")
}
complete -o filenames -F ${name} ${main.getName()}`;
}

function zsh(main: Command<any>): string {
  const all = nodes(main);
  const entry = (word: string, text: string) =>
    quote(`${word.replaceAll(":", "\\:")}:${firstLine(text)}`);
  const cases = all.map((node) => {
    const words = [
      ...node.commands.map((sub) => entry(sub.name, sub.description)),
      ...node.options.flatMap((option) =>
        option.flags.map((flag) => entry(flag, option.description))
      ),
    ];
    return `    ${quote(node.path)}) entries=(${words.join(" ")}) ;;`;
  });
  const name = functionName(main);
  return `#compdef ${main.getName()}
${name}() {
  local -a entries
${findPath(all, '"${(@)words[2,CURRENT-1]}"')}
  case "$at" in
${cases.join("\n")}
  esac
  _describe -o ${main.getName()} entries
  _files
}
compdef ${name} ${main.getName()}`;
}

function fish(main: Command<any>): string {
  const name = main.getName();
  const lines = nodes(main).flatMap((node) => {
    const seen = node.path.split(" ").filter(Boolean)
      .map((word) => `__fish_seen_subcommand_from ${word}`);
    const none = node.commands.map((sub) => sub.name).join(" ");
    const here = [...seen, ...none ? [`not __fish_seen_subcommand_from ${none}`] : []].join(
      "; and ",
    );
    const when = here ? ` -n ${quote(here)}` : "";
    return [
      ...node.commands.map((sub) =>
        `complete -c ${name}${when} -a ${sub.name} -d ${quote(firstLine(sub.description))}`
      ),
      ...node.options.map(({ flags, description }) => {
        const names = flags.map((flag) =>
          flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`
        );
        return `complete -c ${name}${when} ${names.join(" ")} -d ${quote(firstLine(description))}`;
      }),
    ];
  });
  return [`# fish completion for ${name}`, ...lines].join("\n");
}
