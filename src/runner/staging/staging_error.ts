import { BelljarError, type ErrorDetails } from "../../errors.ts";
import { formatSite, type Site } from "../../scope/mod.ts";

/** What kind of problem a {@linkcode StagingError} is. */
export type StagingCode =
  /** Text that cannot be parsed. */
  | "SYNTAX"
  /** An import of something that is not there. */
  | "NOT_FOUND"
  /** An import that only a package manager or the network could satisfy. */
  | "REMOTE_IMPORT"
  /** An import of an embedded package in a version that is not embedded. */
  | "VERSION"
  /** An import without the attribute that it needs, or with one that is not offered. */
  | "ATTRIBUTE"
  /** JSX, decorators, CommonJS. */
  | "UNSUPPORTED"
  /** A `deno.json` or import map that cannot be read. */
  | "CONFIG"
  /** A test registered with Deno itself. */
  | "DENO_TEST";

/** Facts about a test file that cannot be loaded. */
export interface StagingErrorDetails extends ErrorDetails {
  /** Kind of problem. */
  code: StagingCode;
  /** Where, in the author's file. */
  site: Site;
  /** The author's code around the place. */
  frame?: string;
  /** The single problems, where there are several. */
  problems?: readonly StagingError[];
}

/** A test file, or something that it imports, cannot be loaded. */
export class StagingError extends BelljarError {
  override readonly name = "StagingError";
  declare readonly code: StagingCode;
  /** Where, in the author's file. */
  readonly site: Site;
  // Private, since reports list the plain fields of an error, and draw the code themselves.
  readonly #frame: string;
  readonly #problems: readonly StagingError[] | undefined;

  constructor(summary: string, details: StagingErrorDetails) {
    const { site, frame, problems, ...rest } = details;
    super(summary, rest);
    this.#problems = problems;
    this.site = site;
    this.#frame = frame ?? "";
    // Read before it is written: of an error whose stack was never made, Deno passes on a plain copy when an import rejects.
    void this.stack;
    // Reports take the place from the stack; the frames of the loader would tell the author nothing.
    this.stack = `${this.name}: ${this.message}\n    at ${site.file}:${site.line}:${site.column}`;
  }

  /** One error for all that is wrong with a file and its imports. */
  static of(path: string, problems: readonly StagingError[]): StagingError {
    const [first] = problems;
    if (!first) throw new TypeError("Cannot make an error of no problems");
    if (problems.length === 1) return first;
    const lines = problems.map(({ message }) => `- ${message}`.replaceAll("\n", "\n  "));
    const summary = [`Cannot load "${path}": ${problems.length} problems`, ...lines].join("\n");
    return new StagingError(summary, {
      code: first.code,
      site: first.site,
      frame: first.frame,
      problems,
    });
  }

  /** The author's code around the place; empty when the file cannot be read. */
  get frame(): string {
    return this.#frame;
  }

  /** All problems: this one if it is alone. */
  get problems(): readonly StagingError[] {
    return this.#problems ?? [this];
  }

  /** The place as editors and terminals link it. */
  get place(): string {
    return formatSite(this.site);
  }
}
