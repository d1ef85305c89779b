import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import { ByreError } from "../errors.ts";
import { storageError } from "./indexeddb-errors.ts";

/** The file that another is a copy of: what tells it from other files. */
export interface ImportSource {
  readonly name: string;
  readonly sizeBytes: number;
  /** When it was last changed, in milliseconds since 1970; undefined where that is not known. */
  readonly lastModifiedMs: number | undefined;
}

/** What is kept of one file, beside its blocks. */
export interface FileRecord {
  fileId: string;
  name: string;
  sizeBytes: number;
  /** Length of every block; so that a later version can choose another. */
  blockBytes: number;
  /** Goes up with every commit; with `writer`, it shows a commit that another page made. */
  generation: number;
  /** Which opening of the file made the last commit. */
  writer: string;
  /** Tells a file that was deleted and made again from what it was. Files of earlier versions have none. */
  incarnation?: string;
  /**
   * Blocks whose stored bytes count only up to a length, by index. A truncation inside a block that is not
   * in memory is noted here, so that no commit ever has to read.
   */
  trims: [blockIndex: number, validBytes: number][];
  /**
   * The file is a copy that is not whole: it has the first `sizeBytes` of this one. Goes with the commit of the
   * last piece.
   */
  importOf?: ImportSource;
}

export interface BlockSchema extends DBSchema {
  files: { key: string; value: FileRecord };
  blocks: { key: [fileId: string, blockIndex: number]; value: Uint8Array };
}

const SCHEMA_VERSION = 1;

/** The database that IndexedDB files live in. */
export interface BlockDatabase {
  readonly name: string;
  /** The connection, unless the browser has closed it; `use` opens it again. */
  readonly connection: IDBPDatabase<BlockSchema> | undefined;
  /**
   * Runs `action` with an open connection; once more when the connection was lost under it.
   *
   * @throws what `action` throws; ByreError STORAGE or IN_USE when there is no connection to be had; CLOSED.
   */
  use<T>(action: (connection: IDBPDatabase<BlockSchema>) => Promise<T>): Promise<T>;
  close(): void;
}

/**
 * Opens the database of blocks, and makes it when there is none.
 *
 * Browsers close connections on their own (Safari does in background tabs; clearing site data does
 * everywhere); the next use opens it again.
 *
 * @throws ByreError STORAGE; IN_USE when another tab holds an older version of it open.
 */
export async function openBlockDatabase(databaseName = "byre-blocks"): Promise<BlockDatabase> {
  const database = new ReconnectingDatabase(databaseName);
  await database.use(async () => {});
  return database;
}

class ReconnectingDatabase implements BlockDatabase {
  connection: IDBPDatabase<BlockSchema> | undefined;
  private connecting: Promise<IDBPDatabase<BlockSchema>> | undefined;
  private closed = false;

  constructor(readonly name: string) {}

  async use<T>(action: (connection: IDBPDatabase<BlockSchema>) => Promise<T>): Promise<T> {
    const connection = this.connection ?? (await this.connect());
    try {
      return await action(connection);
    } catch (error) {
      // A connection that is closing gives no event in time: opening a transaction on it fails with this.
      if (error instanceof Error && error.name === "InvalidStateError") this.forget(connection);
      if (this.connection === connection || this.closed) throw error;
      return await action(this.connection ?? (await this.connect()));
    }
  }

  close(): void {
    this.closed = true;
    this.connection?.close();
    this.connection = undefined;
  }

  private connect(): Promise<IDBPDatabase<BlockSchema>> {
    this.checkOpen();
    this.connecting ??= this.open().finally(() => {
      this.connecting = undefined;
    });
    return this.connecting;
  }

  private async open(): Promise<IDBPDatabase<BlockSchema>> {
    try {
      const opened = await this.openUnlessBlocked();
      this.connection = opened;
      if (this.closed) this.close();
      this.checkOpen();
      return opened;
    } catch (error) {
      throw storageError(error, `open the database "${this.name}"`, { database: this.name });
    }
  }

  private openUnlessBlocked(): Promise<IDBPDatabase<BlockSchema>> {
    return new Promise((resolve, reject) => {
      let blocked = false;
      const opening = openDB<BlockSchema>(this.name, SCHEMA_VERSION, {
        upgrade(database) {
          database.createObjectStore("files", { keyPath: "fileId" });
          database.createObjectStore("blocks");
        },
        blocked: () => {
          blocked = true;
          const message =
            `The database "${this.name}" is held open by another tab with an older version of this page. ` +
            "Close that tab, then try again.";
          reject(new ByreError("IN_USE", message, { database: this.name }));
        },
        // Someone wants to delete or upgrade the database. Holding on would hang them; what is not
        // committed stays in memory, and the next use finds out what became of it.
        blocking: (_current, _next, event) => this.forget(event.target),
        terminated: () => this.forget(this.connection),
      });
      opening.then((database) => (blocked ? database.close() : resolve(database)), reject);
    });
  }

  private forget(connection: unknown): void {
    (connection as { close(): void } | undefined)?.close();
    this.connection = undefined;
  }

  private checkOpen(): void {
    if (!this.closed) return;
    throw new ByreError("CLOSED", `The database "${this.name}" is closed.`, { database: this.name });
  }
}
