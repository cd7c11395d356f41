// The types of `jsr:@std/msgpack@1.0.3`: the npm copy has none.

export type ValueType =
  | number
  | bigint
  | string
  | boolean
  | null
  | Uint8Array<ArrayBufferLike>
  | readonly ValueType[]
  | ValueMap;
export interface ValueMap {
  [index: string | number]: ValueType;
}
export declare function encode(object: ValueType): Uint8Array<ArrayBuffer>;
export declare function decode(data: Uint8Array): ValueType;
