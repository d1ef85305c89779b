import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { make2008Image } from "../testing/make-2008-image.ts";
import { Bench, hasQemu, qemuImg, qemuIo } from "../testing/qemu.ts";
import { type OpenImageOptions, openImage } from "./open-image.ts";
import { parseSecrets } from "./secrets.ts";
import { byre } from "./testing/twins.ts";

const MIB = 1024 * 1024;

describe.skipIf(!hasQemu)("an image named on the command line", () => {
  const bench = new Bench();
  const path = (name: string) => bench.path(name);
  beforeAll(() => {
    qemuImg("create", "-q", "-f", "qcow2", path("base.qcow2"), "1M");
    qemuIo(path("base.qcow2"), ["write -P 1 0 1M"]);
    mkdirSync(path("below/deep"), { recursive: true });
    qemuImg("create", "-q", "-f", "qcow2", "-b", "../base.qcow2", "-F", "qcow2", path("below/middle.qcow2"));
    qemuImg(
      "create",
      "-q",
      "-f",
      "qcow2",
      "-b",
      "../middle.qcow2",
      "-F",
      "qcow2",
      path("below/deep/top.qcow2"),
    );
    const secret = ["--object", "secret,id=s,data=pw"];
    qemuImg(
      "create",
      "-q",
      "-f",
      "qcow2",
      ...secret,
      "-o",
      "encrypt.format=aes,encrypt.key-secret=s",
      path("aes.qcow2"),
      "1M",
    );
    const aes = `driver=qcow2,file.filename=${path("aes.qcow2")},encrypt.key-secret=s`;
    execFileSync("qemu-io", [...secret, "--image-opts", aes, "-c", "write -P 7 0 64k"]);
    execFileSync("tar", [
      "-cf",
      path("disks.tar"),
      "-C",
      bench.directory,
      "base.qcow2",
      "below/middle.qcow2",
    ]);
    writeFileSync(path("holder.raw"), Buffer.concat([Buffer.alloc(4096, 9), bench.bytes("base.qcow2")]));
    writeFileSync(path("disk.raw"), new Uint8Array(MIB).fill(3));
  }, 90_000);
  afterAll(() => execFileSync("rm", ["-r", bench.directory]));

  const firstByte = async (spec: string, options: OpenImageOptions = {}): Promise<number | undefined> => {
    const { device } = await openImage(spec, options);
    const bytes = new Uint8Array(1);
    await device.read(0, bytes);
    await device.close();
    return bytes[0];
  };

  it("is found with what is behind it, each name relative to its own folder", async () => {
    expect(await firstByte(path("below/deep/top.qcow2"))).toBe(1);
  });

  it("is found inside an archive, and at an offset in another file", async () => {
    expect(await firstByte(`tar:${path("disks.tar")}/base.qcow2`)).toBe(1);
    const spec = `driver=qcow2,file.driver=raw,file.offset=4k,file.file.filename=${path("holder.raw")}`;
    expect(await firstByte(spec, { imageOpts: true })).toBe(1);
    expect(
      await firstByte(`driver=raw,offset=4k,file.filename=${path("holder.raw")}`, { imageOpts: true }),
    ).toBe(0x51);
  });

  it("is not followed out of an archive", async () => {
    await expect(openImage(`tar:${path("disks.tar")}/below/middle.qcow2`)).rejects.toThrow(/relative/);
    await expect(openImage(`tar:${path("disks.tar")}/missing`)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(openImage(`tar:${path("missing.tar")}/x`)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("is opened alone when asked to be", async () => {
    expect(await firstByte(path("below/deep/top.qcow2"), { noBacking: true })).toBe(0);
  });

  it("is decrypted with a secret, or with what is typed", async () => {
    const secrets = parseSecrets(["secret,id=s,data=pw"]);
    const spec = `driver=qcow2,file.filename=${path("aes.qcow2")},encrypt.key-secret=s`;
    expect(await firstByte(spec, { imageOpts: true, secrets })).toBe(7);
    await expect(openImage(spec, { imageOpts: true })).rejects.toThrow("No secret with id 's'");
    await expect(openImage(path("aes.qcow2"))).rejects.toMatchObject({ code: "ENCRYPTED" });
    const asked: string[] = [];
    const askPassword = async (question: string) => {
      asked.push(question);
      return new TextEncoder().encode("pw");
    };
    expect(await firstByte(path("aes.qcow2"), { askPassword })).toBe(7);
    expect(asked).toEqual([`Password for ${path("aes.qcow2")}: `]);
  });

  it("is written only where that is said of a format that was guessed", async () => {
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    const { device, probed } = await openImage(path("disk.raw"), { writable: true, onWarning });
    await device.close();
    expect(probed).toBe(true);
    expect(warnings.join()).toContain("probing guessed raw");
    const { device: again, probed: isProbed } = await openImage(path("disk.raw"), {
      writable: true,
      format: "raw",
    });
    await again.close();
    expect(isProbed).toBe(false);
  });

  it("is not taken for raw when it is another program's", async () => {
    writeFileSync(path("x.vmdk"), "KDMV and more");
    await expect(openImage(path("x.vmdk"))).rejects.toThrow(/VMDK/);
    expect(await firstByte(path("x.vmdk"), { format: "raw" })).toBe(0x4b);
  });

  it("may be of the 2008 format, when that is said, and is then only read", async () => {
    writeFileSync(
      path("old"),
      await make2008Image({ sizeBytes: MIB, entries: ["Title:Old"], data: new Uint8Array(512).fill(8) }),
    );
    await expect(openImage(path("old"))).rejects.toThrow();
    expect(await firstByte(path("old"), { format: "qcow3-2008" })).toBe(8);
    await expect(openImage(path("old"), { format: "qcow3-2008", writable: true })).rejects.toMatchObject({
      code: "READ_ONLY",
    });
    expect((await byre("info", "-f", "qcow3-2008", path("old"))).out).toContain(
      "file format: qcow3-2008\nvirtual size: 1 MiB",
    );
    expect((await byre("meta", "list", "-f", "qcow3-2008", path("old"))).out).toBe("Title=Old\n");
  });
});
