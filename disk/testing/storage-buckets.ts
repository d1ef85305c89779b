/** Chromium's Storage Buckets, each with a quota of its own; its types are in no library yet. */
interface StorageBuckets {
  open(name: string, options: { quota: number }): Promise<{ indexedDB: IDBFactory }>;
  delete(name: string): Promise<void>;
}

export const storageBuckets = (navigator as unknown as { storageBuckets: StorageBuckets }).storageBuckets;
