import { useCallback, useEffect, useState } from "react";
import { storedFiles } from "../library/block-store.ts";
import { library } from "../library/library.ts";
import { type StorageReport, storageReport } from "./storage-report.ts";

export interface StorageUse {
  /** Undefined until it was read. */
  readonly report: StorageReport | undefined;
  /** What the browser counts for this whole site, in bytes; undefined where it does not say. */
  readonly siteBytes: number | undefined;
  readonly error: string | undefined;
  /** Reads it all again. */
  readonly refresh: () => void;
}

/** What takes how much of this browser's storage: now, and after every change of the library. */
export function useStorage(): StorageUse {
  const [state, setState] = useState<Omit<StorageUse, "refresh">>({
    report: undefined,
    siteBytes: undefined,
    error: undefined,
  });
  const refresh = useCallback(() => {
    // Files before records: what is in use is never taken for a leftover.
    const reading = (async () => {
      const files = await storedFiles();
      const report = storageReport(await library.list(), files);
      const estimate = await navigator.storage?.estimate?.().catch(() => undefined);
      return { report, siteBytes: estimate?.usage, error: undefined };
    })();
    reading.then(setState, (error: Error) => setState((before) => ({ ...before, error: error.message })));
  }, []);
  useEffect(() => {
    refresh();
    return library.onChange(refresh);
  }, [refresh]);
  return { ...state, refresh };
}
