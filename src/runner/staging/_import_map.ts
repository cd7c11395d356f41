/**
 * Resolves specifiers by an import map, as the web's algorithm does it.
 *
 * @module
 */

/** The part of an import map or a `deno.json` that maps specifiers. */
export interface ImportMapSource {
  imports?: Record<string, string>;
  scopes?: Record<string, Record<string, string>>;
}

/** What a specifier stands for: an absolute URL, or a bare name that no rule covers. */
export interface Mapped {
  target: string;
  /** Whether a rule of the map was used. */
  mapped: boolean;
}

type Rules = [key: string, value: string][];

/** An import map whose keys and values are normalised. */
export class ImportMap {
  readonly #imports: Rules;
  readonly #scopes: [prefix: string, rules: Rules][];

  /** Reads `source`, whose relative URLs count from `base`. */
  constructor(source: ImportMapSource, base: string) {
    this.#imports = readRules(source.imports ?? {}, base);
    this.#scopes = Object.entries(source.scopes ?? {})
      .map(([prefix, rules]): [string, Rules] => [
        URL.parse(prefix, base)?.href ?? prefix,
        readRules(rules, base),
      ])
      .sort((a, b) => b[0].length - a[0].length);
  }

  /** Resolves `specifier` in the module at `importer`. */
  resolve(specifier: string, importer: string): Mapped {
    const plain = toUrl(specifier, importer) ?? specifier;
    const scopes = this.#scopes.filter(([prefix]) =>
      prefix === importer || (prefix.endsWith("/") && importer.startsWith(prefix))
    );
    for (const rules of [...scopes.map(([, rules]) => rules), this.#imports]) {
      const target = applyRules(rules, plain);
      if (target !== undefined) return { target, mapped: true };
    }
    return { target: plain, mapped: false };
  }
}

/** The absolute URL that a specifier is without a map; `undefined` for bare names. */
export function toUrl(specifier: string, base: string): string | undefined {
  const relative = /^(?:\/|\.\.?\/)/.test(specifier);
  return (relative ? URL.parse(specifier, base) : URL.parse(specifier))?.href;
}

function readRules(entries: Record<string, string>, base: string): Rules {
  const rules: Rules = [];
  for (const [key, value] of Object.entries(entries)) {
    const from = toUrl(key, base) ?? key;
    rules.push([from, toUrl(value, base) ?? value]);
    // Deno maps what lies below a package without being told.
    if (/^(?:jsr|npm):/.test(value) && !key.endsWith("/") && !(`${key}/` in entries)) {
      rules.push([`${from}/`, value.replace(/^(jsr|npm):\/?/, "$1:/") + "/"]);
    }
  }
  // The longest key first: it is the one that counts.
  return rules.sort((a, b) => b[0].length - a[0].length);
}

function applyRules(rules: Rules, specifier: string): string | undefined {
  for (const [key, value] of rules) {
    if (key === specifier) return value;
    if (!key.endsWith("/") || !specifier.startsWith(key)) continue;
    const rest = specifier.slice(key.length);
    if (!/^(?:jsr|npm):/.test(value)) return URL.parse(rest, value)?.href ?? value + rest;
    return value + rest;
  }
  return undefined;
}
