import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * The oracle: qemu-img and qemu-io, which we did not write.
 *
 * On a person's machine tests that need them are skipped where they are missing; in CI that is a failure.
 */
export const hasQemu = spawnSync("qemu-img", ["--version"]).status === 0;
if (!hasQemu && process.env.CI === "true")
  throw new Error("qemu-img is missing: install qemu-utils. In CI the oracle is not optional.");

export function qemuImg(...args: string[]): string {
  return execFileSync("qemu-img", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs qemu-io commands on a file; throws with its output when one of them fails. */
export function qemuIo(path: string, commands: readonly string[], extra: readonly string[] = []): string {
  const args = [...extra, ...commands.flatMap((command) => ["-c", command]), path];
  const output = execFileSync("qemu-io", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  if (/failed|error/i.test(output)) throw new Error(`qemu-io ${commands.join("; ")}: ${output}`);
  return output;
}

/** A directory for one test's files, with what is done most in it. */
export class Bench {
  readonly directory = mkdtempSync(join(tmpdir(), "byre-test-"));

  path(name: string): string {
    return join(this.directory, name);
  }

  put(name: string, bytes: Uint8Array): string {
    writeFileSync(this.path(name), bytes);
    return this.path(name);
  }

  bytes(name: string): Uint8Array<ArrayBuffer> {
    return new Uint8Array(readFileSync(this.path(name)));
  }

  /** The guest's bytes of an image as QEMU reads them. */
  guestBytes(name: string, options: readonly string[] = []): Uint8Array {
    qemuImg("convert", "-O", "raw", ...options, this.path(name), this.path(`${name}.guest`));
    return this.bytes(`${name}.guest`);
  }

  /** `qemu-img check`: throws with what it reports when the image is not clean, leaks included. */
  check(name: string): void {
    qemuImg("check", this.path(name));
  }

  /** Corruptions and leaks that `qemu-img check` counts. */
  checkCounts(name: string): { corruptions: number; leaks: number } {
    const run = spawnSync("qemu-img", ["check", "--output=json", this.path(name)], { encoding: "utf8" });
    const report = JSON.parse(run.stdout) as { corruptions?: number; leaks?: number; "check-errors": number };
    return { corruptions: (report.corruptions ?? 0) + report["check-errors"], leaks: report.leaks ?? 0 };
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
