/** Images: kernels, initial RAM file systems, disks, and the agent that goes into them. @module */
export * from "./agent_binary.ts";
export * from "./boot_files.ts";
export * from "./build_context.ts";
export * from "./image.ts";
export * from "./join_initrds.ts";
export * from "./kernel.ts";
export * from "./build_hook.ts";
export * from "./definition.ts";
export * from "./image_cache.ts";
export * from "./resolve_image.ts";
