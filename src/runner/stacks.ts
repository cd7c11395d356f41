/** V8 keeps 10 frames of an error; belljar's own and those of steps are among them, and the author's are wanted. */
const FRAMES = 30;

/** Makes errors keep enough frames to show the author's, called from however deep. */
export function deepenStacks(): void {
  Error.stackTraceLimit = Math.max(Error.stackTraceLimit, FRAMES);
}
