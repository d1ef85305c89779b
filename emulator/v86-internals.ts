import { ByreError } from "../disk/index.ts";

/**
 * The parts of v86 we touch that its own type file does not describe. They were read from 0.5.462, which
 * package.json pins; `checkInternals` says by name what is gone when that changes.
 */

export interface V86IdeInterface {
  buffer: unknown;
  data: Uint8Array;
  data_length: number;
  status_reg: number;
  error_reg: number;
  features_reg: number;
  current_command: number;
  is_atapi: boolean;
  write_dest: number;
  channel: V86IdeChannel;
  sector_count: number;
  sector_size: number;
  set_disk_buffer(disk: object): void;
  push_irq(): void;
  device_reset(): void;
  ata_command(command: number): void;
  ata_advance(command: number, sectors: number): void;
  create_identify_packet(): void;
  cancel_io_operations(): void;
  do_write(): void;
  do_ata_write_sectors_dma(): void;
  report_write(bytes: number): void;
  /** What a guest hears first: 2 that there is no medium, then that it has changed; 1 the latter alone. */
  medium_changed: number | boolean;
  /** Takes the packet in `data`. */
  atapi_handle(): void;
  /** Reads a CD by PIO. */
  atapi_read(packet: Uint8Array): void;
  atapi_check_condition_response(senseKey: number, additionalSense: number): void;
}

/** A TCP connection that the guest has asked for. */
export interface V86TcpConnection {
  /** Address and port that it leads to. */
  readonly psrc: Uint8Array;
  readonly sport: number;
  /** What the guest is told of the room there is. */
  winsize: number;
  /** What the guest has not acknowledged. */
  readonly send_buffer: { readonly length: number };
  on(event: "data", handler: (bytes: Uint8Array) => void): void;
  /** The guest has ended its side. */
  on_shutdown: () => void;
  /** The guest has reset it. */
  on_close: () => void;
  accept(): void;
  write(bytes: Uint8Array): void;
  close(): void;
}

/** v86's own small network (DHCP, ARP, DNS, TCP), made for HTTP by fetch. */
export interface V86LittleNetwork {
  bus: V86Bus;
  readonly router_mac: Uint8Array;
  readonly router_ip: Uint8Array;
  readonly vm_ip: Uint8Array;
  /** Memory that frames are made in. */
  readonly eth_encoder_buf: object;
  /** Connections of the guest. */
  tcp_conn: Record<string, V86TcpConnection>;
  /** Takes a frame from the guest; called with every one. */
  send(frame: Uint8Array): void;
  /** Gives a frame to the guest. */
  receive(frame: Uint8Array): void;
  fetch(url: string, options: RequestInit): Promise<Response>;
}

export interface V86FloppyDrive {
  /** What is in it. */
  buffer: object | null;
  read_only: boolean;
  insert_disk(image: object, readOnly: boolean): boolean;
  eject_disk(): void;
  get_buffer(): Uint8Array | null;
}

export interface V86IdeChannel {
  master: V86IdeInterface;
  slave: V86IdeInterface;
  irq: number;
  device_control_reg: number;
  dma_status: number;
  dma_command: number;
}

export interface V86Uart {
  input: number[];
  ier: number;
  ints: number;
  line_control: number;
  fifo_control: number;
  modem_control: number;
  lsr: number;
  data_received(byte: number): void;
  CheckInterrupt(): void;
  get_state(): unknown[];
  set_state(state: unknown[] | undefined): void;
}

export interface V86ByteQueue {
  readonly length: number;
  push(byte: number): void;
  shift(): number;
}

/** The controller of keyboard and mouse. */
export interface V86Ps2 {
  kbd_buffer: V86ByteQueue;
  mouse_buffer: V86ByteQueue;
  /** A byte can be read, and has interrupted. */
  next_byte_is_ready: boolean;
  /** It is the mouse's. */
  next_byte_is_aux: boolean;
  get_state(): unknown[];
  set_state(state: unknown[]): void;
}

/** The network card. */
export interface V86Ne2k {
  cr: number;
  imr: number;
  isr: number;
  rcnt: number;
  mac: Uint8Array;
  memory: Uint8Array;
  /** The address that the guest knows, when it is not `mac`. */
  mac_address_in_state: Uint8Array | null;
  update_irq(): void;
  get_state(): unknown[];
  set_state(state: unknown): void;
}

/** The mouse that takes positions. */
export interface V86VmwareMouse {
  enabled: boolean;
  absolute: boolean;
  queue: number[];
  bus: V86Bus;
}

/** One end of the way between devices and page. */
export interface V86Bus {
  send(event: string, value?: unknown): void;
}

export interface V86Acpi {
  status: number;
  gpe: Uint8Array;
  pm1_status: number;
  pm1_enable: number;
}

export interface V86Cpu {
  devices: {
    ide?: { primary?: V86IdeChannel; secondary?: V86IdeChannel };
    uart0: V86Uart;
    uart1: V86Uart;
    ps2: V86Ps2;
    net: V86Ne2k;
    vmware: V86VmwareMouse;
    acpi?: V86Acpi;
    fdc: { drives: V86FloppyDrive[] };
    vga: { graphical_mode: boolean; screen_fill_buffer(): void };
  };
  io: {
    ports: { write8(value: number): void; write16(value: number): void; device: unknown }[];
    register_write(
      port: number,
      device: object,
      write8?: (value: number) => void,
      write16?: (value: number) => void,
      write32?: (value: number) => void,
    ): void;
  };
  wasm_memory: WebAssembly.Memory;
  /** The guest's memory. */
  mem8: Uint8Array;
  pack_memory(): unknown;
  unpack_memory(bitmap: unknown, packed: Uint8Array): void;
  /** Two 32-bit halves, low first; as `store_current_tsc` left them. */
  current_tsc: Uint32Array;
  store_current_tsc(): void;
  set_tsc(low: number, high: number): void;
  idtr_size: { [index: number]: number };
  get_pic_addr_master(): number;
  get_pic_addr_slave(): number;
  get_apic_addr(): number;
  get_ioapic_addr(): number;
  device_lower_irq(irq: number): void;
  main_loop(): number;
  reboot_internal(): void;
  reset_memory(): void;
}

export interface V86ScreenAdapter {
  get_text_screen(): string[];
  set_scale(x: number, y: number): void;
  update_graphical_text?(): void;
}

/** What v86 gives its wasm; one function of it is replaced. */
export interface V86WasmImports {
  [module: string]: Record<string, WebAssembly.ImportValue>;
}

export interface V86Emulator {
  v86: { cpu: V86Cpu };
  screen_adapter: V86ScreenAdapter;
  speaker_adapter?: { audio_context?: AudioContext | null; mixer?: { node_merger: AudioNode } };
  /** `enabled`: whether the guest listens to its mouse. */
  mouse_adapter?: { bus: V86Bus; enabled: boolean };
  network_adapter: V86LittleNetwork;
  /** Whether the guest's mouse driver takes positions. */
  absolute_pointer_enabled: boolean;
  keyboard_adapter: { emu_enabled: boolean };
  add_listener(event: string, listener: (value: never) => void): void;
  run(): Promise<void>;
  stop(): Promise<void>;
  destroy(): Promise<void>;
  is_running(): boolean;
  save_state(): Promise<ArrayBuffer>;
  restore_state(state: ArrayBuffer): Promise<void>;
  keyboard_set_enabled(enabled: boolean): void;
  mouse_set_enabled(enabled: boolean): void;
  keyboard_send_text(text: string, delayMs?: number): Promise<void>;
  keyboard_send_scancodes(codes: readonly number[], delayMs?: number): Promise<void>;
}

/**
 * @throws ByreError INTERNAL naming the first part that is not as it was in the pinned version.
 */
export function checkInternals(emulator: V86Emulator): void {
  const cpu: Partial<V86Cpu> = emulator.v86?.cpu ?? {};
  const ide = cpu.devices?.ide?.secondary?.master;
  const expected: Record<string, unknown> = {
    "cpu.main_loop": cpu.main_loop,
    "cpu.reboot_internal": cpu.reboot_internal,
    "cpu.reset_memory": cpu.reset_memory,
    "cpu.pack_memory": cpu.pack_memory,
    "cpu.unpack_memory": cpu.unpack_memory,
    "cpu.set_tsc": cpu.set_tsc,
    "cpu.store_current_tsc": cpu.store_current_tsc,
    "cpu.get_pic_addr_master": cpu.get_pic_addr_master,
    "cpu.get_pic_addr_slave": cpu.get_pic_addr_slave,
    "cpu.get_apic_addr": cpu.get_apic_addr,
    "cpu.get_ioapic_addr": cpu.get_ioapic_addr,
    "cpu.device_lower_irq": cpu.device_lower_irq,
    "cpu.io.register_write": cpu.io?.register_write,
    "uart0.data_received": cpu.devices?.uart0?.data_received,
    "uart1.set_state": cpu.devices?.uart1?.set_state,
    "net.update_irq": cpu.devices?.net?.update_irq,
    "net.set_state": cpu.devices?.net?.set_state,
    "vmware.bus.send": cpu.devices?.vmware?.bus?.send,
    "network_adapter.send": emulator.network_adapter?.send,
    "ide.create_identify_packet": ide?.create_identify_packet,
    "ide.set_disk_buffer": ide?.set_disk_buffer,
    "ide.atapi_handle": ide?.atapi_handle,
    "ide.atapi_read": ide?.atapi_read,
    "ide.atapi_check_condition_response": ide?.atapi_check_condition_response,
    "fdc.insert_disk": cpu.devices?.fdc?.drives?.[0]?.insert_disk,
    "fdc.eject_disk": cpu.devices?.fdc?.drives?.[0]?.eject_disk,
    "ide.ata_command": ide?.ata_command,
    "ide.cancel_io_operations": ide?.cancel_io_operations,
    "ide.do_write": ide?.do_write,
    "ide.push_irq": ide?.push_irq,
    "ide.ata_advance": ide?.ata_advance,
    "screen_adapter.get_text_screen": emulator.screen_adapter?.get_text_screen,
  };
  for (const [part, value] of Object.entries(expected)) {
    if (typeof value === "function") continue;
    throw new ByreError("INTERNAL", `This v86 has no ${part}; Byre works with exactly version 0.5.462.`, {
      part,
    });
  }
}
