import type { OptionTable } from "../values/mod.ts";
import type { ProbeBase } from "./probe.ts";

/** How the options are checked that all probes have. */
export const PROBE_BASE: OptionTable<ProbeBase> = {
  interval: "duration",
  attemptTimeout: "duration",
  initialDelay: "duration",
  successThreshold: "integer",
};

/** Whether a text contains another, or matches a pattern. */
export function contains(text: string, wanted: string | RegExp): boolean {
  if (typeof wanted === "string") return text.includes(wanted);
  return new RegExp(wanted.source, wanted.flags.replace(/[gy]/g, "")).test(text);
}

/** Checks an option that is a text or a pattern. */
export function patternOption(value: unknown, name: string): void {
  if (typeof value === "string" || value instanceof RegExp) return;
  throw new TypeError(`Option ${name} must be a string or a RegExp, got ${typeof value}`);
}

/** Checks an option that is the number or name of a port. */
export function portOption(value: unknown, name: string): void {
  if (typeof value === "string" && value !== "") return;
  if (typeof value !== "number") {
    throw new TypeError(
      `Option ${name} must be a number or the name of a port, got ${typeof value}`,
    );
  }
  if (!Number.isInteger(value) || value < 1 || value > 65_535) {
    throw new RangeError(`Option ${name} is ${value}: expected 1 to 65535`);
  }
}

/** Checks an option that is the number of a port. */
export function numericPort(value: unknown, name: string): void {
  if (typeof value === "number") return portOption(value, name);
  throw new TypeError(`Option ${name} must be the number of a port, got ${shown(value)}`);
}

/** Checks an option that is the number of a port, or `"auto"`. */
export function portOrAuto(value: unknown, name: string): void {
  if (value === "auto" || typeof value === "number") {
    return value === "auto" ? undefined : portOption(value, name);
  }
  throw new TypeError(`Option ${name} must be a number or "auto", got ${shown(value)}`);
}

function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : typeof value;
}

/** The number of a port that is given by number or by name; the first one when nothing is said. */
export function portNumber(
  ports: Record<string, number>,
  port: number | string | undefined,
): number {
  if (typeof port === "number") return port;
  const name = port ?? Object.keys(ports)[0];
  const number = name === undefined ? undefined : ports[name];
  if (number !== undefined) return number;
  const known = Object.keys(ports).map((key) => JSON.stringify(key)).join(", ") || "none";
  throw new RangeError(
    `Cannot find port ${JSON.stringify(name ?? "")} of the service: it has ${known}`,
  );
}
