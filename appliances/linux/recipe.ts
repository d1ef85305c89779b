/** What the demo appliance is made of. A change here or in any file of this folder makes a new image. */

/** The last Debian release with i386 kernels. */
export const RELEASE = "bookworm";

export const GUEST_ARCHITECTURE = "i386";

/** Depends on the current kernel of the release. */
export const KERNEL_METAPACKAGE = "linux-image-686";

export const GUEST_PACKAGES = ["busybox-static"];

const MIB = 1024 * 1024;

/** Size of the whole virtual disk. */
export const DISK_BYTES = 1024 * MIB;

/** First partition at 1 MiB as partitioning programs do, which leaves room for a boot loader before it. */
export const BOOT_FIRST_SECTOR = 2048;
export const BOOT_SECTORS = (63 * MIB) / 512;
export const ROOT_FIRST_SECTOR = BOOT_FIRST_SECTOR + BOOT_SECTORS;

/** Fixed, so that the same packages give the same image. */
export const DISK_SIGNATURE = 0x62797265;
export const BOOT_SERIAL = "62797265";
export const ROOT_UUID = "6c617474-6963-4065-8279-72652d6c6e78";

/** All files bear this time: 2025-01-01. Nothing in the guest depends on it. */
export const TIME_SECONDS = 1_735_689_600;

/** The modules without which the root disk is out of reach; their dependencies are found. */
export const INITRAMFS_MODULES = ["ata_piix", "ata_generic", "sd_mod", "crc32c_generic", "ext4"];

/** More modules that a person may want to load; their dependencies are found. */
export const ROOT_MODULES = [
  ...INITRAMFS_MODULES,
  ...["sr_mod", "isofs", "udf", "vfat", "nls_ascii", "nls_cp437", "nls_utf8", "nls_iso8859_1"],
  ...["floppy", "loop", "fuse", "overlay", "squashfs", "9p", "9pnet_virtio"],
  ...["ne2k_pci", "8139cp", "8139too", "virtio_pci", "virtio_net", "virtio_blk"],
  ...["psmouse", "evdev", "button"],
];

/** The kernel's parameters, each with its reason. */
export const COMMAND_LINE = [
  `root=UUID=${ROOT_UUID}`,
  // The last named is /dev/console; messages go to both.
  "console=tty0",
  "console=ttyS0,115200",
  "quiet",
  // v86 has no machine checks, and the kernel would say so as an error on every boot.
  "loglevel=3",
  // A freed page reads as zeros: a saved machine is half the size. Zeroing it once more on allocation is waste.
  "init_on_free=1",
  "init_on_alloc=0",
  // There is no processor to protect from, and the emulator pays for every detour.
  "mitigations=off",
  // Nor are there ISA cards to look for (0.9 s), machine checks to hear of, or ciphers to try out at every
  // boot (2.4 s). Measured in v86 with initcall_debug; tsc=reliable, nokaslr, nosmp and noapic gained nothing.
  "noisapnp",
  "mce=off",
  "cryptomgr.notests",
];
