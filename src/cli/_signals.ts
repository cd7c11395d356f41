/** What is done at the first signal that asks to stop, and at later ones. */
export interface SignalActions {
  first(): void;
  second(): void;
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Listens to the signals that ask to stop, until it is disposed of. */
export function onSignals({ first, second }: SignalActions): Disposable {
  let count = 0;
  const listener = () => ++count === 1 ? first() : second();
  for (const signal of SIGNALS) Deno.addSignalListener(signal, listener);
  return {
    [Symbol.dispose]: () => {
      for (const signal of SIGNALS) Deno.removeSignalListener(signal, listener);
    },
  };
}
