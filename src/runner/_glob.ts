/** Whether a path has signs of a glob. */
export function isGlob(path: string): boolean {
  return /[*?[{]/.test(path);
}

/** The folder to walk for an absolute glob, and what its files must match. */
export function globPattern(glob: string): { base: string; pattern: RegExp } {
  const parts = glob.split("/");
  const first = parts.findIndex(isGlob);
  const base = parts.slice(0, first).join("/") || "/";
  return { base, pattern: new RegExp(`^${translate(glob)}$`, "s") };
}

function translate(glob: string): string {
  let out = "";
  let depth = 0;
  for (let i = 0; i < glob.length; i++) {
    const char = glob[i]!;
    if (char === "*" && glob[i + 1] === "*") {
      const wholePart = glob[i - 1] === "/" && glob[i + 2] === "/";
      out += wholePart ? "(?:[^/]+/)*" : ".*";
      i += wholePart ? 2 : 1;
    } else if (char === "*") out += "[^/]*";
    else if (char === "?") out += "[^/]";
    else if (char === "[") {
      const end = glob.indexOf("]", i + 2);
      if (end < 0) out += "\\[";
      else {
        const set = glob.slice(i + 1, end).replace(/^!/, "^").replaceAll("\\", "\\\\");
        out += `[${set}]`;
        i = end;
      }
    } else if (char === "{" && glob.indexOf("}", i) > 0) {
      out += "(?:";
      depth++;
    } else if (char === "}" && depth > 0) {
      out += ")";
      depth--;
    } else if (char === "," && depth > 0) out += "|";
    else out += char.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  }
  return out;
}
