import { Volume2, VolumeX } from "lucide-react";
import { useEffect } from "react";
import { Dialog, DialogTrigger } from "react-aria-components/Dialog";
import { Popover } from "react-aria-components/Popover";
import type { MachineSound } from "../../emulator/index.ts";
import { Button } from "../components/button.tsx";
import { IconButton } from "../components/icon-button.tsx";
import styles from "./sound-button.module.css";
import { usePreference } from "./use-preference.ts";

const LOUD = { muted: false, volume: 1 } as const;

/** How loud the guest is; kept for all machines. */
export function SoundButton({ sound }: { sound: MachineSound }) {
  const [{ muted, volume }, choose] = usePreference("sound", LOUD);
  useEffect(() => {
    sound.setMuted(muted);
    sound.setVolume(volume);
  }, [sound, muted, volume]);
  useEffect(() => {
    // A page is silent until someone has done something in it.
    const resume = () => void sound.resume().catch(() => {});
    window.addEventListener("pointerup", resume, true);
    window.addEventListener("keydown", resume, true);
    return () => {
      window.removeEventListener("pointerup", resume, true);
      window.removeEventListener("keydown", resume, true);
    };
  }, [sound]);
  return (
    <DialogTrigger>
      <IconButton label={muted ? "Sound: off" : "Sound"} icon={muted ? VolumeX : Volume2} />
      <Popover
        className={styles.popover ?? ""}
        placement="bottom end"
        {...(document.fullscreenElement && { UNSTABLE_portalContainer: document.fullscreenElement })}
      >
        <Dialog aria-label="Sound" className={styles.dialog ?? ""}>
          <label className={styles.volume}>
            Volume
            <input
              type="range"
              min={0}
              max={100}
              value={Math.round(volume * 100)}
              onChange={(event) => choose({ muted: false, volume: Number(event.target.value) / 100 })}
            />
          </label>
          <Button onPress={() => choose({ muted: !muted, volume })}>{muted ? "Sound on" : "Mute"}</Button>
        </Dialog>
      </Popover>
    </DialogTrigger>
  );
}
