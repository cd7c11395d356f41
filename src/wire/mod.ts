/** The wire between harness and agent: frames, messages, the client. @module */
export * from "./auth.ts";
export * from "./bytes.ts";
export * from "./client.ts";
export { decodeValue, encodeMap, measureValue } from "./codec.ts";
export { encodeFrame, type Frame, type FrameHeader, FrameReader } from "./frames.ts";
export type { AgentHello } from "./handshake.ts";
export * from "./messages.ts";
export { readShape, shapeKeys, type ValueOf, WireFormatError } from "./schema.ts";
export * from "./stream.ts";
export * from "./version.ts";
export { type ByteConn, writeAll } from "./writer.ts";
