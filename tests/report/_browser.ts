/** A page in a headless Chromium. */
export interface BrowserPage extends AsyncDisposable {
  /** Evaluates an expression in the page. */
  evaluate(expression: string): Promise<unknown>;
  /** Presses and releases a key. */
  press(key: string): Promise<void>;
  /** What the page wrote to its console, and errors that nobody caught. */
  readonly messages: string[];
}

const NAMES = ["chromium", "chromium-headless-shell", "chromium-browser", "google-chrome"];

/** Finds a Chromium: what `CHROMIUM` names, else one on PATH. */
export async function findChromium(): Promise<string | undefined> {
  const named = Deno.env.get("CHROMIUM");
  if (named) return named;
  for (const name of NAMES) {
    const { success, stdout } = await new Deno.Command("sh", { args: ["-c", `command -v ${name}`] })
      .output();
    if (success) return new TextDecoder().decode(stdout).trim();
  }
  return undefined;
}

/** Opens a page and waits until its program has run. */
export async function openPage(
  program: string,
  url: string,
  flags: string[] = [],
): Promise<BrowserPage> {
  const profile = await Deno.makeTempDir({ prefix: "bj-chromium-" });
  const child = new Deno.Command(program, {
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      `--user-data-dir=${profile}`,
      "--remote-debugging-port=0",
      ...flags,
      "about:blank",
    ],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const { address, drained } = debugAddress(child.stderr);
  const { origin } = new URL((await address).replace(/^ws/, "http"));
  const [target] = await (await fetch(`${origin}/json/list`)).json();
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  const session = new Session(socket);
  await session.call("Runtime.enable");
  await session.call("Page.enable");
  const loaded = session.event("Page.loadEventFired");
  await session.call("Page.navigate", { url });
  await loaded;
  return {
    messages: session.messages,
    async evaluate(expression) {
      const reply = await session.call("Runtime.evaluate", {
        expression,
        returnByValue: true,
        awaitPromise: true,
      });
      const { result, exceptionDetails } = reply as {
        result: { value: unknown };
        exceptionDetails?: { text: string };
      };
      if (exceptionDetails) throw new Error(exceptionDetails.text);
      return result.value;
    },
    async press(key) {
      const text = key.length === 1 ? key : key === "Enter" ? "\r" : undefined;
      await session.call("Input.dispatchKeyEvent", { type: "keyDown", key, text });
      await session.call("Input.dispatchKeyEvent", { type: "keyUp", key });
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => socket.onclose = resolve);
      // Chromium ends its own children; a signal to the first process would leave them.
      session.call("Browser.close").catch(() => {}); // the answer may not come any more
      await closed;
      await child.status;
      await drained;
      await Deno.remove(profile, { recursive: true });
    },
  };
}

/** The DevTools protocol over one socket. */
class Session {
  readonly messages: string[] = [];
  #socket: WebSocket;
  #ids = 0;
  #calls = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #events = new Map<string, () => void>();

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
  }

  call(method: string, params: Record<string, unknown> = {}): Promise<unknown> {
    const id = ++this.#ids;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  event(method: string): Promise<void> {
    return new Promise((resolve) => this.#events.set(method, resolve));
  }

  #take(
    message: {
      id?: number;
      method?: string;
      params?: unknown;
      result?: unknown;
      error?: { message: string };
    },
  ): void {
    if (message.id !== undefined) {
      const call = this.#calls.get(message.id);
      this.#calls.delete(message.id);
      return message.error
        ? call?.reject(new Error(message.error.message))
        : call?.resolve(message.result);
    }
    const { method = "" } = message;
    if (method === "Runtime.exceptionThrown" || method === "Runtime.consoleAPICalled") {
      this.messages.push(JSON.stringify(message.params));
    }
    this.#events.get(method)?.();
  }
}

/** Reads standard error to its end, and tells the address as soon as it is there. */
function debugAddress(
  stderr: ReadableStream<Uint8Array>,
): { address: Promise<string>; drained: Promise<void> } {
  const { promise: address, resolve, reject } = Promise.withResolvers<string>();
  const drained = (async () => {
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of stderr) {
      text += decoder.decode(chunk, { stream: true });
      const found = /DevTools listening on (ws:\S+)/.exec(text);
      if (found) resolve(found[1]!);
    }
    reject(new Error(`Chromium did not start: ${text}`));
  })();
  return { address, drained };
}
