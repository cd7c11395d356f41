import { linkOf } from "./_link.ts";
import { type File, openFile } from "./file.ts";
import type { OpenOptions } from "./open_flags.ts";
import { FileOperations } from "./operations_files.ts";
import { type GuestPath, pathBytes } from "./paths.ts";
import type { Stream } from "./stream.ts";
import { checkTail, openTail, type TailOptions } from "./tail.ts";
import { Watch, type WatchOptions } from "./watch.ts";

/** Operations that open something which the scope of the caller closes. */
export abstract class OpenOperations extends FileOperations {
  /**
   * Opens a file, for reading where no options are given.
   *
   * @throws {TypeError} If no kind of access is asked for, or the options contradict each other.
   */
  async openFile(path: GuestPath, options: OpenOptions = { read: true }): Promise<File> {
    return await openFile(linkOf(this), path, options);
  }

  /** A stream of what is written to a file; it survives truncation and rotation. */
  async tail(path: GuestPath, options: TailOptions = {}): Promise<Stream> {
    checkTail(options);
    const { from = "end", signal } = options;
    return await openTail(linkOf(this), pathBytes(path, "tail()"), from, signal);
  }

  /** Reports what happens to a file, or to the entries of a folder, from now on. */
  async watch(path: GuestPath, options: WatchOptions = {}): Promise<Watch> {
    return await Watch.open(linkOf(this), path, options);
  }
}
