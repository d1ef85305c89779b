import { ByreError } from "../errors.ts";
import { BLOCK_BYTES, type IndexedDbBlocks } from "./indexeddb-blocks.ts";
import type { BlockDatabase } from "./indexeddb-database.ts";
import { storageError } from "./indexeddb-errors.ts";
import { readBlocks, type StoredFile } from "./indexeddb-transactions.ts";

/** Brings stored blocks into memory, each once for all who wait for it. */
export class IndexedDbLoader {
  blocksRead = 0;
  private readonly loading = new Map<number, Promise<void>>();
  private closed = false;

  constructor(
    private readonly database: BlockDatabase,
    private readonly file: StoredFile,
    private readonly blocks: IndexedDbBlocks,
  ) {}

  /** What is being loaded then fails with CLOSED. */
  close(): void {
    this.closed = true;
  }

  /**
   * Brings in every block of a range.
   *
   * @returns whether anything had to be loaded.
   * @throws ByreError STORAGE; CORRUPT for a block of a wrong length; NOT_FOUND when the file was deleted; CLOSED.
   */
  async load(offsetBytes: number, lengthBytes: number): Promise<boolean> {
    if (lengthBytes === 0) return false;
    const first = Math.floor(offsetBytes / BLOCK_BYTES);
    const last = Math.floor((offsetBytes + lengthBytes - 1) / BLOCK_BYTES);
    for (let loaded = false; ; loaded = true) {
      const missing: number[] = [];
      const waits = new Set<Promise<void>>();
      for (let index = first; index <= last; index++) {
        if (!this.blocks.isMissing(index)) continue;
        const loading = this.loading.get(index);
        if (loading) waits.add(loading);
        else missing.push(index);
      }
      if (missing.length > 0) waits.add(this.fetch(missing));
      if (waits.size === 0) {
        this.blocks.keep(first, last);
        return loaded;
      }
      await Promise.all(waits);
      if (this.closed)
        throw new ByreError("CLOSED", `${this.file.name} is closed.`, { file: this.file.name });
    }
  }

  private fetch(indexes: number[]): Promise<void> {
    const fetching = this.fetchBlocks(indexes).finally(() => {
      for (const index of indexes) this.loading.delete(index);
    });
    for (const index of indexes) this.loading.set(index, fetching);
    return fetching;
  }

  private async fetchBlocks(indexes: number[]): Promise<void> {
    try {
      const found = await this.database.use((connection) => readBlocks(connection, this.file, indexes));
      for (const [position, index] of indexes.entries()) {
        const bytes = found[position];
        if (bytes && bytes.length !== BLOCK_BYTES) this.refuse(index, bytes.length);
        if (!this.closed) this.blocks.install(index, bytes);
      }
      this.blocksRead += indexes.length;
    } catch (error) {
      throw storageError(error, `read ${this.file.name}`, { file: this.file.name, fileId: this.file.fileId });
    }
  }

  private refuse(index: number, lengthBytes: number): never {
    throw new ByreError(
      "CORRUPT",
      `${this.file.name}: block ${index} (offset ${index * BLOCK_BYTES}) is stored as ${lengthBytes} bytes, not ` +
        `${BLOCK_BYTES}. The browser's storage is damaged: export what can be read and make the machine anew.`,
      { file: this.file.name, fileId: this.file.fileId, offsetBytes: index * BLOCK_BYTES, lengthBytes },
    );
  }
}
