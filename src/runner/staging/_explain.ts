/**
 * Puts what V8 says of a module that it cannot link into the author's terms.
 *
 * @module
 */

import { pathToFileURL } from "node:url";
import type { Stage } from "./stage.ts";
import { errorAt } from "./_error_at.ts";

/** The error to show for one that an import rejected with. It takes its place: as a cause it would name staged files. */
export function explain(stage: Stage, error: unknown): unknown {
  if (!(error instanceof SyntaxError)) return error;
  // Deno appends the place: by the source map when the module was compiled, else in the staged file.
  const match = /^([^]*) at (file:\/\/.+):(\d+):(\d+)$/.exec(error.message);
  if (!match) return error;
  const [, what, shown, lineText, columnText] = match as unknown as [
    string,
    string,
    string,
    string,
    string,
  ];
  const line = Number(lineText);
  const column = Number(columnText);
  const path = stage.pathOf(shown);
  const module = stage.graph.get(path);
  if (!module) return error;
  const isStaged = shown !== `file://${path}` && shown !== module.url;
  const place = isStaged
    ? stage.originalPosition(stage.urlFor(path), line, column)
    : { line, column };
  // As the author wrote it, not as it was staged.
  const plain = what.replace(/(?<=module ')file:[^']+(?=')/, (staged) => {
    const target = stage.pathOf(staged);
    const edge = module.edges.find(({ resolution }) =>
      resolution?.kind === "file" && resolution.path === target
    );
    return edge?.import.specifier ?? pathToFileURL(target).href;
  });
  const name = /does not provide an export named '(.+)'/.exec(plain)?.[1];
  return errorAt(
    module,
    { line: (place?.line ?? 1) - 1, column: (place?.column ?? 1) - 1 },
    (at) => `Cannot load "${at}": ${plain}`,
    {
      code: "SYNTAX",
      next: name ? `correct the name, or write \`type ${name}\` if it is a type` : undefined,
    },
  );
}
