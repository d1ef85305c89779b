import { fstatSync, readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";

/** What a file under Node asks of its host, and no more, so that a faulty host can stand in. */
export interface HostIo {
  /** Length of the file, in bytes. */
  sizeBytes(): number;
  /** Reads at once. @returns how many bytes; fewer than asked only at the end. */
  read(offsetBytes: number, target: Uint8Array): number;
  /** Writes all of `data`, not yet durably. */
  write(offsetBytes: number, data: Uint8Array): Promise<void>;
  /** Makes what was written, and the length, durable. */
  sync(): Promise<void>;
  setSize(sizeBytes: number): Promise<void>;
  close(): Promise<void>;
}

/** Opens a file of the host; fails with the host's own errors. */
export async function openHostIo(path: string, flags: "r" | "r+" | "wx+"): Promise<HostIo> {
  const handle = await open(path, flags);
  if ((await handle.stat()).isDirectory()) {
    await handle.close();
    throw Object.assign(new Error("it is a directory"), { code: "EISDIR" });
  }
  if (flags === "wx+") await syncDirectory(dirname(path));
  return fromHandle(handle);
}

/** Without this, a new file's content may be durable and its name not. */
async function syncDirectory(path: string): Promise<void> {
  // Windows opens no directories, and journals names on its own.
  if (process.platform === "win32") return;
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function fromHandle(handle: FileHandle): HostIo {
  return {
    sizeBytes: () => fstatSync(handle.fd).size,
    read(offsetBytes, target) {
      let done = 0;
      while (done < target.length) {
        const count = readSync(handle.fd, target, done, target.length - done, offsetBytes + done);
        if (count === 0) break;
        done += count;
      }
      return done;
    },
    async write(offsetBytes, data) {
      // A write may be cut short, by a full disk for one; the next then fails and says why.
      for (let done = 0; done < data.length; )
        done += (await handle.write(data, done, data.length - done, offsetBytes + done)).bytesWritten;
    },
    sync: () => handle.datasync(),
    setSize: (sizeBytes) => handle.truncate(sizeBytes),
    close: () => handle.close(),
  };
}
