let scale = 1;

/**
 * Sets how much slower machines are than on hardware virtualisation. It stretches the limits that belljar chooses itself
 * (boot, test, file, agent, defaults of waits), never a duration that an author wrote.
 */
export function setTimeScale(factor: number): void {
  if (!(factor >= 1) || !Number.isFinite(factor)) {
    throw new RangeError(`Cannot use ${factor} as time scale: expected a number from 1`);
  }
  scale = factor;
}

/** How much slower machines are than on hardware virtualisation: 1 with KVM. */
export function timeScale(): number {
  return scale;
}
