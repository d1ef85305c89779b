import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import { ByreError } from "../../disk/index.ts";
import type { MachineRecord } from "./machine-record.ts";

interface LibrarySchema extends DBSchema {
  machines: { key: string; value: MachineRecord };
}

const DATABASE = "byre";
const SCHEMA_VERSION = 1;
/** Tells the other tabs that the library changed. */
const CHANNEL = "byre-library";

/** The machines this browser keeps. What their disks hold is in the block store; here are the records. */
export interface Library {
  /** All records, the last used first. */
  list(): Promise<MachineRecord[]>;
  get(id: string): Promise<MachineRecord | undefined>;
  /** Adds a record, or replaces the one with its id. */
  put(record: MachineRecord): Promise<void>;
  /**
   * Changes some fields of a record.
   *
   * @throws ByreError NOT_FOUND when the machine was deleted meanwhile.
   */
  update(id: string, change: Partial<Omit<MachineRecord, "id">>): Promise<MachineRecord>;
  remove(id: string): Promise<void>;
  /** Calls back after every change, in this tab or another. Returns a function that ends it. */
  onChange(listener: () => void): () => void;
}

function createLibrary(): Library {
  const listeners = new Set<() => void>();
  let channel: BroadcastChannel | undefined;
  let connection: Promise<IDBPDatabase<LibrarySchema>> | undefined;

  async function use<T>(action: (database: IDBPDatabase<LibrarySchema>) => Promise<T>): Promise<T> {
    connection ??= connect();
    const opened = connection;
    try {
      return await action(await opened);
    } catch (error) {
      if (error instanceof ByreError) throw error;
      // Browsers close connections of their own accord; the next use opens another.
      if (connection === opened) connection = undefined;
      throw libraryError(error);
    }
  }

  function connect(): Promise<IDBPDatabase<LibrarySchema>> {
    return openDB<LibrarySchema>(DATABASE, SCHEMA_VERSION, {
      upgrade: (database) => {
        database.createObjectStore("machines", { keyPath: "id" });
      },
      blocking: (_current, _blocked, event) => {
        (event.target as IDBDatabase).close();
        connection = undefined;
      },
      terminated: () => {
        connection = undefined;
      },
    });
  }

  function changed(): void {
    for (const listener of listeners) listener();
    channel?.postMessage("changed");
  }

  return {
    list: () =>
      use(async (database) => {
        const records = await database.getAll("machines");
        return records.sort((a, b) => b.lastUsedAt - a.lastUsedAt);
      }),
    get: (id) => use((database) => database.get("machines", id)),
    async put(record) {
      await use(async (database) => {
        const transaction = database.transaction("machines", "readwrite", { durability: "strict" });
        await Promise.all([transaction.store.put(record), transaction.done]);
      });
      changed();
    },
    async update(id, change) {
      const record = await use(async (database) => {
        const transaction = database.transaction("machines", "readwrite", { durability: "strict" });
        const found = await transaction.store.get(id);
        if (!found) throw new ByreError("NOT_FOUND", "This machine was deleted.", { machine: id });
        const next = { ...found, ...change };
        await Promise.all([transaction.store.put(next), transaction.done]);
        return next;
      });
      changed();
      return record;
    },
    async remove(id) {
      await use(async (database) => {
        const transaction = database.transaction("machines", "readwrite", { durability: "strict" });
        await Promise.all([transaction.store.delete(id), transaction.done]);
      });
      changed();
    },
    onChange(listener) {
      if (!channel) {
        channel = new BroadcastChannel(CHANNEL);
        channel.onmessage = () => {
          for (const each of listeners) each();
        };
      }
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
  };
}

function libraryError(error: unknown): ByreError {
  const { name = "an error", message = "" } = error instanceof Error ? error : {};
  if (name === "QuotaExceededError")
    return new ByreError(
      "QUOTA_EXCEEDED",
      "The list of machines could not be changed: the browser's storage for this site is full. Delete machines you " +
        "no longer need, or free disk space, and try again.",
      {},
      error,
    );
  const reason = message || `the browser's storage reported ${name}.`;
  return new ByreError("STORAGE", `The list of machines cannot be reached: ${reason}`, {}, error);
}

/** The library of this browser. */
export const library: Library = createLibrary();
