import {
  alternateName,
  continuation,
  encodePathRecord,
  encodeRecord,
  fitsRecord,
  join,
  posix,
  rockRidge,
  SECTOR_BYTES,
  susp,
  timeStamp,
} from "./iso-records.ts";
import type { IsoNode } from "./iso-tree.ts";

/** The same tree stands on the disc twice, with other names. */
export type IsoFlavor = "rock ridge" | "joliet";

interface Directory {
  readonly node: IsoNode;
  /** Index of its parent; the root is its own. */
  readonly parent: number;
  /** Sorted as their records are. */
  readonly children: readonly IsoNode[];
  sector: number;
  sectors: number;
}

const ROOT_ID = Uint8Array.of(0);
const PARENT_ID = Uint8Array.of(1);

/**
 * The directories and path tables of one of the two trees. First its measures are taken, then it is placed, then
 * written, when it is known where the files stand.
 */
export class IsoDirectories {
  readonly pathTableBytes: number;
  /** Sectors of all directories, and of names that are too long for their records after them. */
  readonly sectors: number;
  private readonly directories: Directory[] = [];
  private readonly indexOf = new Map<IsoNode, number>();
  /** For nodes whose name does not fit: where the entry for it stands in the continuation area. */
  private readonly longNames = new Map<IsoNode, { readonly at: number; readonly bytes: Uint8Array }>();
  private readonly directorySectors: number;
  private firstSector = 0;

  constructor(
    private readonly root: IsoNode,
    private readonly flavor: IsoFlavor,
  ) {
    this.list(root);
    this.pathTableBytes = this.pathTable(true).length;
    let sector = 0;
    for (const directory of this.directories) {
      directory.sector = sector;
      directory.sectors = this.measure(directory);
      sector += directory.sectors;
    }
    this.directorySectors = sector;
    this.sectors = sector + this.placeLongNames();
  }

  place(firstSector: number): void {
    this.firstSector = firstSector;
    for (const directory of this.directories) directory.sector += firstSector;
  }

  /** The root's record, as a volume descriptor has it. */
  rootRecord(): Uint8Array<ArrayBuffer> {
    return this.record(this.root, ROOT_ID, new Uint8Array(), () => 0);
  }

  pathTable(littleEndian: boolean): Uint8Array {
    return join(
      this.directories.map(({ node, parent, sector }, index) =>
        encodePathRecord(index === 0 ? ROOT_ID : this.idOf(node), sector, parent + 1, littleEndian),
      ),
    );
  }

  /** @param sectorOf where a file's content stands. */
  encode(sectorOf: (node: IsoNode) => number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.sectors * SECTOR_BYTES);
    for (const directory of this.directories) {
      let at = (directory.sector - this.firstSector) * SECTOR_BYTES;
      for (const record of this.records(directory, sectorOf)) {
        at = afterBoundary(at, record.length);
        bytes.set(record, at);
        at += record.length;
      }
    }
    for (const { at, bytes: name } of this.longNames.values())
      bytes.set(name, this.directorySectors * SECTOR_BYTES + at);
    return bytes;
  }

  /** A directory's number is its place among all: by level, then by parent, then by name (ECMA-119, 6.9.1). */
  private list(root: IsoNode): void {
    this.add(root, 0);
    for (let index = 0; index < this.directories.length; index++) {
      for (const child of this.directories[index]?.children ?? [])
        if (child.fileIndex === undefined) this.add(child, index);
    }
  }

  private add(node: IsoNode, parent: number): void {
    const children = [...node.children].sort((a, b) => this.compare(a, b));
    this.indexOf.set(node, this.directories.length);
    this.directories.push({ node, parent, children, sector: 0, sectors: 0 });
  }

  /** ECMA-119, 9.3: the stem is filled up with the lowest character, then the extension. */
  private compare(a: IsoNode, b: IsoNode): number {
    if (this.flavor === "joliet") return a.jolietName < b.jolietName ? -1 : 1;
    const key = ({ isoName }: IsoNode) => {
      const [stem = "", extension = ""] = isoName.split(".");
      return stem.padEnd(8) + extension.padEnd(3);
    };
    return key(a) < key(b) ? -1 : 1;
  }

  private idOf(node: IsoNode): Uint8Array {
    const version = node.fileIndex === undefined ? "" : ";1";
    if (this.flavor === "rock ridge") return new TextEncoder().encode(node.isoName + version);
    return ucs2(node.jolietName + version);
  }

  private measure(directory: Directory): number {
    let at = 0;
    for (const record of this.records(directory, () => 0))
      at = afterBoundary(at, record.length) + record.length;
    return Math.ceil(at / SECTOR_BYTES);
  }

  private *records(
    { node, parent, children }: Directory,
    sectorOf: (node: IsoNode) => number,
  ): Generator<Uint8Array> {
    const above = this.directories[parent]?.node ?? node;
    const isRoot = node === this.root;
    const marks = isRoot ? [susp(), ...this.attributes(node), rockRidge()] : this.attributes(node);
    yield this.record(node, ROOT_ID, join(this.flavor === "joliet" ? [] : marks), sectorOf);
    yield this.record(above, PARENT_ID, join(this.attributes(above)), sectorOf);
    for (const child of children) {
      const id = this.idOf(child);
      yield this.record(child, id, this.systemUse(child, id), sectorOf);
    }
  }

  private record(
    node: IsoNode,
    id: Uint8Array,
    systemUse: Uint8Array,
    sectorOf: (node: IsoNode) => number,
  ): Uint8Array<ArrayBuffer> {
    const directory = this.directories[this.indexOf.get(node) ?? -1];
    return encodeRecord({
      id,
      sector: directory ? directory.sector : sectorOf(node),
      lengthBytes: directory ? directory.sectors * SECTOR_BYTES : node.sizeBytes,
      isDirectory: directory !== undefined,
      mtimeMs: node.mtimeMs,
      systemUse,
    });
  }

  private attributes({ fileIndex, children, mtimeMs }: IsoNode): Uint8Array[] {
    if (this.flavor === "joliet") return [];
    const isDirectory = fileIndex === undefined;
    const below = children.filter((child) => child.fileIndex === undefined).length;
    return [posix(isDirectory, isDirectory ? 2 + below : 1), timeStamp(mtimeMs)];
  }

  private systemUse(node: IsoNode, id: Uint8Array): Uint8Array {
    if (this.flavor === "joliet") return new Uint8Array();
    const name = alternateName(new TextEncoder().encode(node.name));
    const attributes = join(this.attributes(node));
    if (fitsRecord(id.length, attributes.length + name.length)) return join([attributes, name]);
    const known = this.longNames.get(node);
    if (!known) this.longNames.set(node, { at: 0, bytes: name });
    const at = known?.at ?? 0;
    const sector = this.firstSector + this.directorySectors + Math.floor(at / SECTOR_BYTES);
    return join([attributes, continuation(sector, at % SECTOR_BYTES, name.length)]);
  }

  /** One after the other, none over the end of a sector. Returns how many sectors they take. */
  private placeLongNames(): number {
    let at = 0;
    for (const [node, { bytes }] of this.longNames) {
      at = afterBoundary(at, bytes.length);
      this.longNames.set(node, { at, bytes });
      at += bytes.length;
    }
    return Math.ceil(at / SECTOR_BYTES);
  }
}

/** Where something of a length begins that must not lie in two sectors. */
function afterBoundary(at: number, lengthBytes: number): number {
  return (at % SECTOR_BYTES) + lengthBytes > SECTOR_BYTES ? Math.ceil(at / SECTOR_BYTES) * SECTOR_BYTES : at;
}

/** Two bytes for each UTF-16 unit, the high one first. */
export function ucs2(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length * 2);
  for (let i = 0; i < text.length; i++) new DataView(bytes.buffer).setUint16(i * 2, text.charCodeAt(i));
  return bytes;
}
