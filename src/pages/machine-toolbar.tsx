import {
  ArrowLeft,
  Ellipsis,
  type LucideIcon,
  Maximize,
  Pause,
  Play,
  Power,
  RotateCcw,
  Snowflake,
} from "lucide-react";
import type { Ref } from "react";
import { Toolbar } from "react-aria-components/Toolbar";
import { Button, type ButtonProps } from "../components/button.tsx";
import { Menu, MenuItem } from "../components/menu.tsx";
import { goTo } from "../components/page-location.ts";
import { ThemeButton } from "../components/theme-button.tsx";
import { Tip } from "../components/tip.tsx";
import type { MachineSession } from "../open/machine-session.ts";
import { suspendMachine } from "./machine-actions.ts";
import { MACHINE_PANELS, type ToolPlace } from "./machine-panels.tsx";
import styles from "./machine-toolbar.module.css";
import { useMatch, useToolRoom } from "./use-tool-room.ts";

export interface MachineToolbarProps {
  session: MachineSession;
  state: MachineSession["state"];
  /** Of the panel that is shown. */
  openPanel: string | undefined;
  onPanel: (id: string) => void;
  /** Of the buttons that panels are opened with, by the panel's id; those in the menu have the menu's button. */
  panelButton: (id: string) => Ref<HTMLButtonElement>;
  run: (action: () => Promise<unknown>) => void;
  onFullScreen: () => Promise<void>;
}

/** From where on the bar has room for names. */
const LABELS = "(min-width: 75rem)";

interface MachineTool {
  readonly id: string;
  readonly label: string;
  readonly icon: LucideIcon;
  readonly place: ToolPlace;
  readonly isDisabled?: boolean;
  readonly isPanel?: boolean;
  readonly onAction: () => void;
}

/** What can be done with a machine: the most used on a bar, the rest in its menu. */
export function MachineToolbar(props: MachineToolbarProps) {
  const { session, openPanel, panelButton } = props;
  const hasRoom = useToolRoom();
  const tools = toolsOf(props);
  const onBar = tools.filter(({ place }) => hasRoom(place));
  const inMenu = tools.filter(({ place }) => !hasRoom(place));
  return (
    <header className={styles.header}>
      <Button look="quiet" iconOnly aria-label="All machines" onPress={() => goTo("/")}>
        <ArrowLeft size={18} aria-hidden="true" />
      </Button>
      <span className={styles.name} title={session.name}>
        {session.name}
      </span>
      <Toolbar aria-label="Machine" className={styles.tools ?? ""}>
        {onBar.map(({ id, label, icon, isDisabled = false, isPanel = false, onAction }) => (
          <Tool
            key={id}
            label={label}
            icon={icon}
            isDisabled={isDisabled}
            onPress={onAction}
            {...(isPanel && {
              "aria-expanded": openPanel === id,
              "aria-controls": id,
              ref: panelButton(id),
            })}
          />
        ))}
        {inMenu.length > 0 && (
          <Menu
            label="More of this machine"
            button={<Tool label="More" icon={Ellipsis} ref={panelButton("menu")} />}
          >
            {inMenu.map(({ id, label, icon, isDisabled = false, onAction }) => (
              <MenuItem
                key={id}
                id={id}
                label={label}
                icon={icon}
                isDisabled={isDisabled}
                onAction={onAction}
              />
            ))}
          </Menu>
        )}
      </Toolbar>
      <span className={styles.theme}>
        <ThemeButton />
      </span>
    </header>
  );
}

function toolsOf({ session, state, onPanel, run, onFullScreen }: MachineToolbarProps): MachineTool[] {
  const on = state === "running" || state === "paused";
  // A save is no reason to wait: the machine runs on meanwhile.
  const kind = session.activity?.kind;
  const busy = kind === "loading" || kind === "suspending" || kind === "exporting";
  const suspend = async () => {
    await suspendMachine(session);
    // Whoever has gone elsewhere meanwhile stays there.
    if (location.hash === `#/machine/${session.id}`) goTo("/");
  };
  const pause: MachineTool =
    state === "paused"
      ? {
          id: "pause",
          label: "Resume",
          icon: Play,
          place: "always",
          isDisabled: busy,
          onAction: () => run(() => session.resume()),
        }
      : {
          id: "pause",
          label: "Pause",
          icon: Pause,
          place: "always",
          isDisabled: !on || busy,
          onAction: () => run(() => session.pause()),
        };
  return [
    pause,
    {
      id: "reset",
      label: "Reset",
      icon: RotateCcw,
      place: "medium",
      isDisabled: state === "starting" || busy,
      onAction: () => run(() => session.reset()),
    },
    {
      id: "power-off",
      label: "Power off",
      icon: Power,
      place: "medium",
      isDisabled: !on || busy,
      onAction: () => run(() => session.powerOff()),
    },
    // One that is thrown away has nothing to be suspended into.
    ...(session.id
      ? [
          {
            id: "suspend",
            label: "Suspend",
            icon: Snowflake,
            place: "medium",
            isDisabled: !on || busy,
            onAction: () => run(suspend),
          } as const,
        ]
      : []),
    ...MACHINE_PANELS.map(({ id, label, icon, place }) => ({
      id,
      label,
      icon,
      place,
      isDisabled: state === "starting",
      isPanel: true,
      onAction: () => onPanel(id),
    })),
    // Telephones of one maker show nothing but films on the full screen.
    ...(document.fullscreenEnabled
      ? [
          {
            id: "full-screen",
            label: "Full screen",
            icon: Maximize,
            place: "medium",
            onAction: () => run(onFullScreen),
          } as const,
        ]
      : []),
  ];
}

/** An icon with its name, which narrow windows show only when it is pointed at. */
function Tool({ label, icon: Icon, ...props }: ButtonProps & { label: string; icon: LucideIcon }) {
  const named = useMatch(LABELS);
  return (
    <Tip text={label} isDisabled={named}>
      <Button look="quiet" {...props}>
        <Icon size={17} aria-hidden="true" />
        <span className={named ? "" : "visually-hidden"}>{label}</span>
      </Button>
    </Tip>
  );
}
