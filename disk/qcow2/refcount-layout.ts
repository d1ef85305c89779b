import { ENTRY_BYTES, MAX_REFCOUNT_TABLE_BYTES } from "./format.ts";

/** How many clusters refcount structures take. */
export interface RefcountLayout {
  readonly blocks: number;
  readonly tableClusters: number;
}

/**
 * How many blocks and table clusters count everything, themselves included.
 *
 * @param usedClusters what else there is, from the first cluster on.
 * @param options fromCluster: blocks are made from this one on (a block's first), for the table all count.
 *   tableClusters: the table is at least so long.
 */
export function fitRefcounts(
  usedClusters: number,
  shape: { clusterSizeBytes: number; countsPerBlock: number },
  options: { fromCluster?: number; tableClusters?: number } = {},
): RefcountLayout {
  const { clusterSizeBytes, countsPerBlock } = shape;
  const firstBlock = (options.fromCluster ?? 0) / countsPerBlock;
  let blocks = 1;
  let tableClusters = options.tableClusters ?? 1;
  for (;;) {
    const endBlock = Math.ceil((usedClusters + blocks + tableClusters) / countsPerBlock);
    const neededTable = Math.ceil((endBlock * ENTRY_BYTES) / clusterSizeBytes);
    if (endBlock - firstBlock <= blocks && neededTable <= tableClusters) return { blocks, tableClusters };
    blocks = Math.max(blocks, endBlock - firstBlock);
    tableClusters = Math.max(tableClusters, neededTable);
  }
}

/** Whether a refcount table of so many clusters is longer than images may have. */
export function isTableTooLong(tableClusters: number, clusterSizeBytes: number): boolean {
  return tableClusters * clusterSizeBytes > Math.max(MAX_REFCOUNT_TABLE_BYTES, clusterSizeBytes);
}
