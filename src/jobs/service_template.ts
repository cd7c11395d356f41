import { ServiceConfigError } from "./service_errors.ts";
import type { ServiceContext } from "./service_types.ts";

/**
 * Fills in `{{port.http}}` (a port of the service itself) and `{{svc.db.url}}`, `{{svc.db.host}}`, `{{svc.db.port}}`,
 * `{{svc.db.port.admin}}` (of one that was started before).
 */
export function fillTemplate(text: string, context: ServiceContext): string {
  return text.replace(/\{\{\s*([\w.-]+)\s*\}\}/g, (whole, path: string) => {
    const [root, ...rest] = path.split(".");
    const value = root === "port"
      ? port(context.ports, rest)
      : root === "svc"
      ? service(context, rest)
      : undefined;
    if (value !== undefined) return String(value);
    throw new ServiceConfigError(`Cannot fill in ${whole} for service "${context.name}"`, {
      service: context.name,
      expected: "{{port.NAME}}, {{svc.SERVICE.url}}, .host, .port or .port.NAME",
      actual: known(context),
      next: "name services that it depends on, and ports that they have",
    });
  });
}

/** The address of a service's port. */
export function addressOf(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function port(ports: Record<string, number>, [name, ...rest]: string[]): number | undefined {
  if (rest.length > 0) return undefined;
  return name === undefined ? Object.values(ports)[0] : own(ports, name);
}

function service(
  context: ServiceContext,
  [name = "", what, ...rest]: string[],
): string | number | undefined {
  const other = own(context.services, name);
  if (!other) return undefined;
  const first = Object.values(other.ports)[0];
  if (what === "host") return other.host;
  if (what === "port") return port(other.ports, rest);
  if (what === "url" && first !== undefined) return addressOf(other.host, first);
  return undefined;
}

function own<T>(map: Record<string, T>, key: string): T | undefined {
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

function known({ ports, services }: ServiceContext): string {
  const rows = Object.keys(ports).map((name) => `port.${name}`);
  for (const [name, other] of Object.entries(services)) {
    rows.push(...Object.keys(other.ports).map((key) => `svc.${name}.port.${key}`));
  }
  return rows.length > 0
    ? `there are ${rows.join(", ")}`
    : "it has no ports and depends on no service";
}
