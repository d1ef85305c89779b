import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { createIso, openRawDevice } from "../../disk/index.ts";
import { startHeadlessMachine } from "../../emulator/node.ts";
import { atPrompt, BOOT_TIMEOUT_MS, IMAGE, makeOverlay, run } from "./testing.ts";

describe.skipIf(!existsSync(IMAGE) && process.env.CI !== "true")("a CD of files", () => {
  test("shows Linux every file whole and by its name, by Rock Ridge and by Joliet", {
    timeout: 2 * BOOT_TIMEOUT_MS,
  }, async () => {
    const large = randomBytes(3_000_001);
    const mtimeMs = Date.UTC(2024, 1, 29, 13, 14, 15);
    const longName = `${"n".repeat(249)}.txt`;
    const disc = createIso(
      [
        { path: "read me.txt", content: new TextEncoder().encode("the cow is in\n"), mtimeMs },
        { path: "some folder/large file.bin", content: new Blob([large]), mtimeMs },
        { path: longName, content: new Uint8Array(), mtimeMs },
        ...Array.from({ length: 200 }, (_, index) => ({
          path: `many/file number ${index}`,
          content: new TextEncoder().encode(`${index}`),
          mtimeMs,
        })),
      ],
      { volumeId: "COWS" },
    );
    const { device } = await makeOverlay();
    onTestFinished(() => device.close());
    const machine = await startHeadlessMachine({ disks: { hda: device, cdrom: openRawDevice(disc) } });
    onTestFinished(() => machine.close());
    await atPrompt(machine, 0, BOOT_TIMEOUT_MS);

    const hash = createHash("md5").update(large).digest("hex");
    for (const options of ["ro", "ro,norock"]) {
      expect(await run(machine, `mount -t iso9660 -o ${options} /dev/sr0 /mnt && echo moun""ted`)).toContain(
        "mounted",
      );
      expect(await run(machine, "cat '/mnt/read me.txt'")).toContain("the cow is in");
      expect(await run(machine, "md5sum '/mnt/some folder/large file.bin'")).toContain(hash);
      expect(await run(machine, "cat /mnt/many/* | wc -c; ls /mnt/many | wc -l")).toMatch(/490\s+200/);
      expect(await run(machine, "cat '/mnt/many/file number 199'")).toMatch(/\b199/);
      if (options === "ro") {
        expect(await run(machine, "ls /mnt | grep -c 'nnn.txt$'; ls /mnt | wc -L")).toMatch(/1\s+253/);
        expect(await run(machine, "ls -l --full-time '/mnt/read me.txt'")).toMatch(
          /^-r--r--r--.*2024-02-29 13:14:15/m,
        );
      }
      await run(machine, "umount /mnt");
    }
    expect(await run(machine, 'dmesg | grep -i isofs; echo do""ne')).not.toMatch(/error|corrupt|bad/i);
  });
});
