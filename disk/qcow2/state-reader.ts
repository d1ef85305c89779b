import { ByreError } from "../errors.ts";
import type { Qcow2Core } from "./core.ts";
import type { Qcow2Image } from "./image.ts";
import { type Need, untilReady } from "./needs.ts";
import { Reader } from "./reader.ts";
import { snapshotTree } from "./snapshot-change.ts";
import type { Qcow2Snapshot } from "./snapshot-table.ts";
import { findSnapshot } from "./snapshots.ts";
import { vmStateOffset } from "./vm-state.ts";

/** The reader of a snapshot's VM state. */
export async function openState(core: Qcow2Core, idOrName: string): Promise<StateReader> {
  const snapshot = findSnapshot(core.image, idOrName);
  const { l1 } = await snapshotTree(core.image, snapshot);
  return new StateReader(core.image, snapshot, new Uint8Array(l1.buffer));
}

/**
 * VM state of a snapshot, to read. Several reads may be under way at once.
 *
 * Every method throws SNAPSHOT_NOT_FOUND once the snapshot is deleted or its state is edited.
 */
export class StateReader {
  private readonly view: Qcow2Image;
  private readonly reader: Reader;
  private readonly startBytes: number;

  constructor(
    private readonly image: Qcow2Image,
    readonly snapshot: Qcow2Snapshot,
    l1: Uint8Array,
  ) {
    this.view = image.viewSnapshot(snapshot, l1);
    this.reader = new Reader(this.view, undefined);
    this.startBytes = vmStateOffset(this.view);
  }

  get sizeBytes(): number {
    return this.snapshot.vmStateBytes;
  }

  get clusterSizeBytes(): number {
    return this.view.clusterSizeBytes;
  }

  /** Fills `target` with the state's bytes from an offset on. */
  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    const start = this.startBytes + offsetBytes;
    for (let done = 0; done < target.length; )
      done += await this.attempt((needs) =>
        this.reader.tryReadRun(start + done, target.subarray(done), needs),
      );
  }

  /**
   * The packed bytes of a compressed cluster, in the image's compression type, to be unpacked elsewhere. What
   * follows one cluster's worth of data in them is not part of it.
   *
   * @returns undefined for a cluster that is stored plain, or not at all: `read` it.
   */
  async readPacked(clusterIndex: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const at = this.startBytes + clusterIndex * this.clusterSizeBytes;
    const found = await this.attempt((needs) => this.reader.tryReadPacked(at, needs));
    return found === "not packed" ? undefined : found;
  }

  /**
   * How far from an offset on the state is zeros without being stored, or is stored.
   *
   * @returns the kind and a length in bytes of at most `maxBytes`.
   */
  async run(offsetBytes: number, maxBytes: number): Promise<{ stored: boolean; lengthBytes: number }> {
    const found = await this.attempt((needs) =>
      this.reader.tryFindRun(this.startBytes + offsetBytes, maxBytes, needs),
    );
    return { stored: found.kind === "data" || found.kind === "compressed", lengthBytes: found.lengthBytes };
  }

  private attempt<Result>(work: (needs: Need[]) => Result | undefined): Promise<Result> {
    return untilReady((needs) => {
      this.checkThere();
      return work(needs);
    });
  }

  private checkThere(): void {
    if (hasSnapshot(this.image, this.snapshot)) return;
    const { name } = this.snapshot;
    throw new ByreError(
      "SNAPSHOT_NOT_FOUND",
      `${this.image.file.name}: the snapshot "${name}" was deleted or changed while its state was being read.`,
      { file: this.image.file.name, snapshot: name },
    );
  }
}

/** Whether a snapshot is still in the table, with the tables it had. */
export function hasSnapshot(image: Qcow2Image, { id, l1OffsetBytes }: Qcow2Snapshot): boolean {
  return image.snapshots.some((each) => each.id === id && each.l1OffsetBytes === l1OffsetBytes);
}
