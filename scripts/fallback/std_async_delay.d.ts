export interface DelayOptions {
  signal?: AbortSignal;
  /** @default {true} */
  persistent?: boolean;
}
export declare function delay(ms: number, options?: DelayOptions): Promise<void>;
