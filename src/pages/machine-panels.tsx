import {
  Disc,
  Download,
  FolderInput,
  History,
  Info,
  type LucideIcon,
  Share2,
  SlidersHorizontal,
  TextCursorInput,
} from "lucide-react";
import type { ComponentType } from "react";
import { type LatePart, late } from "../components/late.tsx";
import { SidePanel } from "../components/side-panel.tsx";
import type { MachineSession } from "../open/machine-session.ts";

export interface MachinePanelProps {
  session: MachineSession;
  state: MachineSession["state"];
  onClose: () => void;
  /** Does something and shows what goes wrong over the machine. */
  run: (action: () => Promise<unknown>) => void;
}

/**
 * Where a tool of the machine page stands: `always` on the bar, on the bar of a `medium` or a `wide` window, or
 * in the menu alone. What is not on the bar is in the menu.
 */
export type ToolPlace = "always" | "medium" | "wide" | "menu";

/** A panel beside the machine. */
export interface MachinePanel {
  /** Of the panel's element too, for `aria-controls`. */
  readonly id: string;
  readonly label: string;
  readonly icon: LucideIcon;
  readonly place: ToolPlace;
  /** Fetched when it is first opened. */
  readonly Panel: LatePart<MachinePanelProps>;
}

type PanelOf = Omit<MachinePanel, "Panel"> & { load: () => Promise<ComponentType<MachinePanelProps>> };

const panel = ({ load, ...rest }: PanelOf): MachinePanel => ({
  ...rest,
  Panel: late(load, {
    frame: (notice, { onClose }) => (
      <SidePanel id={rest.id} title={rest.label} closeLabel={`Close ${rest.label}`} onClose={onClose}>
        {notice}
      </SidePanel>
    ),
  }),
});

/** All of them, in the order of the bar and the menu. */
export const MACHINE_PANELS: readonly MachinePanel[] = [
  panel({
    id: "snapshots",
    label: "Snapshots",
    icon: History,
    place: "always",
    load: async () => (await import("./snapshot-panel.tsx")).SnapshotPanel,
  }),
  panel({
    id: "drives",
    label: "Drives",
    icon: Disc,
    place: "wide",
    load: async () => (await import("../machine-tools/drives-panel.tsx")).DrivesPanel,
  }),
  panel({
    id: "files",
    label: "Files",
    icon: FolderInput,
    place: "wide",
    load: async () => (await import("../machine-tools/files-panel.tsx")).FilesPanel,
  }),
  panel({
    id: "export",
    label: "Export",
    icon: Download,
    place: "menu",
    load: async () => (await import("./export-panel.tsx")).ExportPanel,
  }),
  panel({
    id: "share",
    label: "Share",
    icon: Share2,
    place: "menu",
    load: async () => (await import("../share/share-panel.tsx")).SharePanel,
  }),
  panel({
    id: "settings",
    label: "Settings",
    icon: SlidersHorizontal,
    place: "menu",
    load: async () => (await import("../settings/settings-panel.tsx")).SettingsPanel,
  }),
  panel({
    id: "about",
    label: "About",
    icon: Info,
    place: "menu",
    load: async () => (await import("./about-panel.tsx")).AboutPanel,
  }),
  panel({
    id: "type-text",
    label: "Type text",
    icon: TextCursorInput,
    place: "menu",
    load: async () => (await import("../machine-tools/type-text-panel.tsx")).TypeTextPanel,
  }),
];
