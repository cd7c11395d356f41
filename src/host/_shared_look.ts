/**
 * Makes one look out of those that are asked for at the same time. Who asks gets one that begins after the question: what
 * was true before it does not count.
 */
export function sharedLook<T>(look: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | undefined;
  return () => {
    next ??= running.then(() => {
      next = undefined;
      const begun = (async () => await look())();
      running = begun.catch(() => {}); // Whoever asked gets the error.
      return begun;
    });
    return next;
  };
}
