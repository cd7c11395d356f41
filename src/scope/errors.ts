import { BelljarError, type ErrorDetails } from "../errors.ts";
import type { Site } from "./site.ts";

/** A resource that could not be closed. */
export interface CloseFailure {
  /** What it is: `"process"`, `"file"`, … */
  kind: string;
  /** What errors call it. */
  name: string;
  /** Where it was created. */
  site: Site | undefined;
  /** What its closer threw. */
  error: unknown;
}

/** Facts about a scope that could not be closed cleanly, or that is closed already. */
export interface ScopeErrorDetails extends ErrorDetails {
  /** What each closer threw. */
  errors?: unknown[];
  /** The resources that failed. */
  failures?: CloseFailure[];
}

/**
 * One or more resources of a scope could not be closed, or a resource was opened when its scope was closing already.
 *
 * An `AggregateError` in all but its base class: `errors` holds what each closer threw.
 */
export class ScopeError extends BelljarError {
  override readonly name = "ScopeError";
  /** What each closer threw, newest resource first. */
  readonly errors: unknown[];
  /** The resources that failed, newest first. */
  readonly failures: CloseFailure[];

  constructor(summary: string, details: ScopeErrorDetails = {}) {
    const { errors, failures, ...rest } = details;
    super(summary, { code: "SCOPE", ...rest });
    this.errors = errors ?? failures?.map((failure) => failure.error) ?? [];
    this.failures = failures ?? [];
  }
}
