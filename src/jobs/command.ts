/** The argument list for a command: a text goes to the shell, a list is run as it is. */
export function commandArgv(command: string | readonly string[]): readonly string[] {
  if (typeof command === "string") return ["/bin/sh", "-c", command];
  if (Array.isArray(command) && command.length > 0) {
    if (command.every((word) => typeof word === "string")) return command;
  }
  const got = command === null ? "null" : Array.isArray(command) ? "another list" : typeof command;
  throw new TypeError(
    `A command must be a text for the shell, or a list of a program and its arguments, got ${got}`,
  );
}

/** How reports call a command. */
export function commandText(command: string | readonly string[]): string {
  if (typeof command === "string") return command;
  const plain = /^[\w@%+=:,./-]+$/;
  return command.map((word) => plain.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)
    .join(" ");
}
