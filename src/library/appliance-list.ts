/** An image that the gallery offers. */
export interface Appliance {
  /** Address, relative to the page. */
  readonly image: string;
  readonly name: string;
  readonly summary: string;
  /** What to say when the file is not there. */
  readonly howToBuild: string;
}

export const APPLIANCES: readonly Appliance[] = [
  {
    image: "appliances/linux.qcow2",
    name: "Linux",
    summary: "Debian's kernel with a BusyBox shell, on a 1 GiB disk. Root, no password.",
    howToBuild: "npm start",
  },
];
