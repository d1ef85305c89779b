import { ArrowDown, ArrowUp, HardDrive, type LucideIcon, Network } from "lucide-react";
import { useEffect, useState } from "react";
import type { MachineSession, SessionStats } from "../open/machine-session.ts";
import styles from "./activity-lights.module.css";

/** Often enough to be seen with what causes it, and slow enough not to flicker. */
const LOOK_MS = 250;

type Counter = "bytesRead" | "bytesWritten" | "networkBytesIn" | "networkBytesOut";

/** What has moved since the last look. */
type Moved = Readonly<Record<Counter, boolean>>;

const NOTHING: Moved = {
  bytesRead: false,
  bytesWritten: false,
  networkBytesIn: false,
  networkBytesOut: false,
};
const COUNTERS = Object.keys(NOTHING) as Counter[];

/** Two lights as on a computer's case, with an arrow for each direction: disk, and network where it is on. */
export function ActivityLights({ session, hasNetwork }: { session: MachineSession; hasNetwork: boolean }) {
  const moved = useMoved(session);
  return (
    <span className={styles.lights}>
      <Light
        icon={HardDrive}
        name="Disk"
        down={moved.bytesRead && "reads"}
        up={moved.bytesWritten && "writes"}
      />
      {hasNetwork && (
        <Light
          icon={Network}
          name="Network"
          down={moved.networkBytesIn && "receives"}
          up={moved.networkBytesOut && "sends"}
        />
      )}
    </span>
  );
}

interface LightProps {
  icon: LucideIcon;
  name: string;
  down: string | false;
  up: string | false;
}

function Light({ icon: Icon, name, down, up }: LightProps) {
  const words = [down, up].filter(Boolean).join(" and ") || "idle";
  return (
    <span className={styles.light} role="img" aria-label={`${name}: ${words}`} data-on={words !== "idle"}>
      <Icon size={15} aria-hidden="true" />
      <ArrowDown size={13} aria-hidden="true" className={down ? "" : styles.dark} />
      <ArrowUp size={13} aria-hidden="true" className={up ? "" : styles.dark} />
    </span>
  );
}

/** Renders again only when a light goes on or off. */
function useMoved(session: MachineSession): Moved {
  const [moved, setMoved] = useState(NOTHING);
  useEffect(() => {
    let before: SessionStats = session.stats();
    const timer = setInterval(() => {
      const now = session.stats();
      const next = movedBetween(before, now);
      before = now;
      setMoved((shown) => (COUNTERS.every((counter) => shown[counter] === next[counter]) ? shown : next));
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, [session]);
  return moved;
}

function movedBetween(before: SessionStats, now: SessionStats): Moved {
  const moved = { ...NOTHING };
  for (const counter of COUNTERS) moved[counter] = now[counter] !== before[counter];
  return moved;
}
