import { registerOptions } from "../values/mod.ts";
import { contains, patternOption, portNumber, portOption, PROBE_BASE } from "./_probe_options.ts";
import type { Probe, ProbeBase, ProbeContext, ProbeOutcome, TcpProbeOptions } from "./probe.ts";
import type { Target } from "./service_place.ts";
import { showOwners } from "./service_errors.ts";

/** Options of {@linkcode probe.http}. */
export interface HttpProbeOptions extends ProbeBase {
  /** Number, or name of a port of the service. @default {its first port} */
  port?: number | string;
  /** A whole address, instead of port and path. */
  url?: string;
  /** @default {"/"} */
  path?: string;
  /** @default {"GET"} */
  method?: string;
  headers?: HeadersInit;
  /** Status, several, or a test. @default {200-399} */
  status?: number | number[] | ((status: number) => boolean);
  /** What the body must contain. */
  body?: string | RegExp;
  /** Whether any certificate is good enough. @default {false} */
  insecure?: boolean;
  /** Path of a unix socket on which the server listens. */
  unix?: string;
}

const checkHttp = registerOptions<HttpProbeOptions>("probe.http()", {
  ...PROBE_BASE,
  port: portOption,
  url: "string",
  path: "string",
  method: "string",
  headers: "any",
  status: "any",
  body: patternOption,
  insecure: "boolean",
  unix: "string",
});
const checkTcp = registerOptions<TcpProbeOptions>("probe.tcp()", {
  ...PROBE_BASE,
  port: portOption,
  host: "string",
});
const checkUnix = registerOptions<ProbeBase>("probe.unix()", PROBE_BASE);

/** See {@linkcode probe.http}. */
export function httpProbe(given: string | HttpProbeOptions): Probe {
  const isUrl = typeof given === "string" && /^https?:\/\//.test(given);
  const options = typeof given !== "string" ? given : isUrl ? { url: given } : { path: given };
  checkHttp(options);
  const { url, path = "/", method = "GET", unix, insecure = false } = options;
  const headers = new Headers(options.headers);
  const address = url === undefined ? undefined : new URL(url);
  if (!path.startsWith("/")) {
    throw new RangeError(
      `Option path of probe.http() is ${JSON.stringify(path)}: it must begin with "/"`,
    );
  }
  return {
    kind: "http",
    describe: () => `${method} ${url ?? `${unix ?? options.port ?? ""}${path}`}`,
    async check(context) {
      const target = unix !== undefined ? { unix } : targetOf(context, options, address);
      const request = {
        method,
        path: address ? `${address.pathname}${address.search}` : path,
        host: address?.host ?? "localhost",
        headers,
      };
      const tls = address?.protocol === "https:" ? { tls: { insecure } } : {};
      const answer = await context.place.http({ ...target, ...tls }, request, context.signal);
      if (!statusOk(answer.status, options.status)) {
        return { ok: false, reason: `status ${answer.status}` };
      }
      if (options.body !== undefined && !contains(answer.body, options.body)) {
        return { ok: false, reason: `the body does not contain ${options.body}` };
      }
      return "port" in target && !address ? await owned(context, target.port) : { ok: true };
    },
    ...base(options),
  };
}

/** See {@linkcode probe.tcp}. */
export function tcpProbe(given: number | string | TcpProbeOptions): Probe {
  const options = typeof given === "object" ? given : { port: given };
  checkTcp(options);
  const { port, host } = options;
  portOption(port, "port of probe.tcp()");
  return {
    kind: "tcp",
    describe: () => `port ${port}`,
    async check(context) {
      const number = portNumber(context.ports, port);
      await context.place.connect({ port: number, host }, context.signal);
      return host === undefined ? await owned(context, number) : { ok: true };
    },
    ...base(options),
  };
}

/** See {@linkcode probe.unix}. */
export function unixProbe(path: string, options: ProbeBase): Probe {
  checkUnix(options);
  return {
    kind: "unix",
    describe: () => `socket ${path}`,
    async check({ place, signal }) {
      await place.connect({ unix: path }, signal);
      return { ok: true };
    },
    ...base(options),
  };
}

/** A server that was left behind by somebody else must not make a service ready. */
async function owned(context: ProbeContext, port: number): Promise<ProbeOutcome> {
  const owners = await context.place.portOwners(port);
  if (owners === undefined || owners.length === 0) return { ok: true };
  for (const { pid } of owners) if (await context.isOwn(pid)) return { ok: true };
  return { ok: false, reason: `port ${port} is held by another process: ${showOwners(owners)}` };
}

function targetOf(
  context: ProbeContext,
  options: HttpProbeOptions,
  address: URL | undefined,
): Target & { port: number } {
  if (!address) return { port: portNumber(context.ports, options.port) };
  const port = Number(address.port) || (address.protocol === "https:" ? 443 : 80);
  return { port, host: address.hostname.replace(/^\[|\]$/g, "") };
}

function statusOk(status: number, wanted: HttpProbeOptions["status"]): boolean {
  if (wanted === undefined) return status >= 200 && status < 400;
  if (typeof wanted === "function") return wanted(status);
  return [wanted].flat().includes(status);
}

function base({ interval, attemptTimeout, initialDelay, successThreshold }: ProbeBase): ProbeBase {
  return { interval, attemptTimeout, initialDelay, successThreshold };
}
