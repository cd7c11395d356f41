/** Receives what happens below the runner: its kind and its fields, without time stamps. */
export type EventSink = (kind: string, fields: Record<string, unknown>) => void;

let sink: EventSink | undefined;

/** Installs the receiver of events of this process, and returns the one before it. */
export function setEventSink(next: EventSink | undefined): EventSink | undefined {
  const previous = sink;
  sink = next;
  return previous;
}

/** Tells the installed receiver what happened; without one nothing is kept. */
export function emitEvent(kind: string, fields: Record<string, unknown>): void {
  sink?.(kind, fields);
}
