/** Version of belljar, the same in harness, agent and binary. */
export const VERSION = "0.1.0";
