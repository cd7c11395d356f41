import { readFilter, type Selection } from "../dsl/mod.ts";
import { asUsage } from "./_errors.ts";

/** The options by which tests are chosen. */
export interface SelectionOptions {
  filter?: string;
  tag?: string[];
  skipTag?: string[];
  meta?: string[];
  skipMeta?: string[];
  includeSlow?: true;
}

/** Reads the options by which tests are chosen. */
export function selectionOf(options: SelectionOptions): Selection {
  const { filter, tag, skipTag, meta, skipMeta, includeSlow } = options;
  if (filter !== undefined) asUsage(() => readFilter(filter));
  return {
    ...filter !== undefined && { filter },
    ...tag && { tags: tag },
    ...skipTag && { noTags: skipTag },
    ...meta && { meta },
    ...skipMeta && { noMeta: skipMeta },
    ...includeSlow && { includeSlow },
  };
}

/**
 * `--no-tag` and `--no-meta` take a value, which flags that begin with `--no-` cannot have in the command tree: they are
 * read as `--skip-tag` and `--skip-meta`.
 */
export function renameNegations(args: readonly string[]): string[] {
  const end = args.indexOf("--");
  return args.map((word, i) => {
    if (end >= 0 && i > end) return word;
    return word.replace(/^--no-(tag|meta)(?==|$)/, "--skip-$1");
  });
}
