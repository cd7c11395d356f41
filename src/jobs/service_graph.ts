import { closest } from "../values/mod.ts";
import { ServiceConfigError } from "./service_errors.ts";
import { checkSpec, dependenciesOf } from "./service_spec.ts";
import type { DependencyCondition, ServiceSpec } from "./service_types.ts";

/** Services and what each of them waits for. */
export interface ServiceGraph {
  specs: ReadonlyMap<string, ServiceSpec>;
  /** For each service the names that it depends on, with their conditions. */
  needs: ReadonlyMap<string, ReadonlyMap<string, DependencyCondition>>;
  /** For each service the names that depend on it. */
  neededBy: ReadonlyMap<string, readonly string[]>;
}

/**
 * Checks specifications and puts them into relation; nothing is started.
 *
 * @throws {ServiceConfigError} If a name is used twice, a dependency is unknown, or services wait for each other.
 */
export function serviceGraph(list: readonly ServiceSpec[]): ServiceGraph {
  if (!Array.isArray(list)) throw new TypeError(`services() takes a list, got ${typeof list}`);
  const specs = new Map<string, ServiceSpec>();
  for (const spec of list) {
    checkSpec(spec);
    if (specs.has(spec.name)) {
      throw new ServiceConfigError(`Cannot start two services of the name "${spec.name}"`, {
        service: spec.name,
      });
    }
    specs.set(spec.name, spec);
  }
  const needs = new Map<string, ReadonlyMap<string, DependencyCondition>>();
  const neededBy = new Map<string, string[]>(list.map(({ name }) => [name, []]));
  for (const spec of list) {
    const own = dependenciesOf(spec, specs);
    for (const name of own.keys()) {
      if (!specs.has(name)) throw unknown(spec, name, [...specs.keys()]);
      neededBy.get(name)!.push(spec.name);
    }
    needs.set(spec.name, own);
  }
  const cycle = findCycle(needs);
  if (cycle) {
    throw new ServiceConfigError(
      `Cannot start services that wait for each other: ${cycle.join(" → ")}`,
      {
        cycle,
        service: cycle[0],
        next: "take one of these dependencies away",
      },
    );
  }
  return { specs, needs, neededBy };
}

function unknown(spec: ServiceSpec, name: string, known: string[]): ServiceConfigError {
  const near = closest(name, known);
  return new ServiceConfigError(
    `Cannot start service "${spec.name}": it depends on "${name}", which does not exist`,
    {
      service: spec.name,
      expected: `one of ${known.map((one) => JSON.stringify(one)).join(", ")}`,
      next: near ? `did you mean "${near}"?` : undefined,
    },
  );
}

function findCycle(
  needs: ReadonlyMap<string, ReadonlyMap<string, unknown>>,
): string[] | undefined {
  const done = new Set<string>();
  const visit = (name: string, path: string[]): string[] | undefined => {
    const at = path.indexOf(name);
    if (at >= 0) return [...path.slice(at), name];
    if (done.has(name)) return undefined;
    for (const next of needs.get(name)!.keys()) {
      const cycle = visit(next, [...path, name]);
      if (cycle) return cycle;
    }
    done.add(name);
    return undefined;
  };
  for (const name of needs.keys()) {
    const cycle = visit(name, []);
    if (cycle) return cycle;
  }
  return undefined;
}
