import {
  type BelljarEvent,
  EVENT_VERSION,
  type EventFields,
  type KnownKind,
} from "../report/events.ts";

/** Emits an event of a known kind. */
export type Emit = <Kind extends KnownKind>(kind: Kind, fields: EventFields<Kind>) => void;

/** Makes the emitter of a run: it adds version, time and run. */
export function makeEmit(run: string, write: (event: BelljarEvent) => void): Emit {
  return (kind, fields) => {
    // Of the same clock as everybody's, with the precision of the monotonic one.
    const ts = Math.round((performance.timeOrigin + performance.now()) * 1000) / 1000;
    write({ v: EVENT_VERSION, ts, run, kind, ...fields } as BelljarEvent);
  };
}
