import { formatSite } from "../../scope/mod.ts";
import { codeFrame, type Position } from "./_position.ts";
import { StagingError, type StagingErrorDetails } from "./staging_error.ts";

/** Makes the error for a place in a file (from 0). */
export function errorAt(
  file: { url: string; text: string },
  place: Position,
  summary: (where: string) => string,
  details: Omit<StagingErrorDetails, "site" | "frame">,
): StagingError {
  const site = { file: file.url, line: place.line + 1, column: place.column + 1 };
  return new StagingError(summary(formatSite(site)), {
    ...details,
    site,
    frame: codeFrame(file.text, place),
  });
}
