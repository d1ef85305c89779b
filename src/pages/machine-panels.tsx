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
import { type ComponentType, type LazyExoticComponent, lazy } from "react";
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
  readonly Panel: LazyExoticComponent<ComponentType<MachinePanelProps>>;
}

/** All of them, in the order of the bar and the menu. */
export const MACHINE_PANELS: readonly MachinePanel[] = [
  {
    id: "snapshots",
    label: "Snapshots",
    icon: History,
    place: "always",
    Panel: lazy(async () => ({ default: (await import("./snapshot-panel.tsx")).SnapshotPanel })),
  },
  {
    id: "drives",
    label: "Drives",
    icon: Disc,
    place: "wide",
    Panel: lazy(async () => ({ default: (await import("../machine-tools/drives-panel.tsx")).DrivesPanel })),
  },
  {
    id: "files",
    label: "Files",
    icon: FolderInput,
    place: "wide",
    Panel: lazy(async () => ({ default: (await import("../machine-tools/files-panel.tsx")).FilesPanel })),
  },
  {
    id: "export",
    label: "Export",
    icon: Download,
    place: "menu",
    Panel: lazy(async () => ({ default: (await import("./export-panel.tsx")).ExportPanel })),
  },
  {
    id: "share",
    label: "Share",
    icon: Share2,
    place: "menu",
    Panel: lazy(async () => ({ default: (await import("../share/share-panel.tsx")).SharePanel })),
  },
  {
    id: "settings",
    label: "Settings",
    icon: SlidersHorizontal,
    place: "menu",
    Panel: lazy(async () => ({ default: (await import("../settings/settings-panel.tsx")).SettingsPanel })),
  },
  {
    id: "about",
    label: "About",
    icon: Info,
    place: "menu",
    Panel: lazy(async () => ({ default: (await import("./about-panel.tsx")).AboutPanel })),
  },
  {
    id: "type-text",
    label: "Type text",
    icon: TextCursorInput,
    place: "menu",
    Panel: lazy(async () => ({
      default: (await import("../machine-tools/type-text-panel.tsx")).TypeTextPanel,
    })),
  },
];
