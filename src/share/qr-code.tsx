import { encode } from "uqr";
import styles from "./qr-code.module.css";

/** Light modules around the code, without which readers do not find it. */
const QUIET_MODULES = 4;

export interface QrCodeProps {
  text: string;
  /** For who cannot see it. */
  label: string;
}

/** A QR code, black on white in both themes: readers expect that. */
export function QrCode({ text, label }: QrCodeProps) {
  const modules = modulesOf(text);
  if (!modules) return <p>The link is too long for a QR code.</p>;
  const size = modules.length + 2 * QUIET_MODULES;
  return (
    <svg
      className={styles.code}
      viewBox={`${-QUIET_MODULES} ${-QUIET_MODULES} ${size} ${size}`}
      shapeRendering="crispEdges"
      role="img"
      aria-label={label}
    >
      <rect x={-QUIET_MODULES} y={-QUIET_MODULES} width={size} height={size} fill="#fff" />
      <path d={pathOf(modules)} fill="#000" />
    </svg>
  );
}

/** Rows of modules, true for dark; undefined for more text than a code holds. */
export function modulesOf(text: string): readonly (readonly boolean[])[] | undefined {
  try {
    return encode(text, { ecc: "L", boostEcc: true, border: 0 }).data;
  } catch {
    return undefined;
  }
}

function pathOf(modules: readonly (readonly boolean[])[]): string {
  return modules.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ""))).join("");
}
