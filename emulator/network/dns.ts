/**
 * The name server of a guest behind a Wisp relay. The relay finds names itself, when it is asked to connect; so
 * each name gets an address that stands for it, from 198.18.0.0/15, which RFC 2544 keeps free of real hosts.
 */
export interface NameServer {
  /** The frame that answers a guest's question; undefined when the frame is none. */
  answer(frame: Uint8Array): Uint8Array<ArrayBuffer> | undefined;
  /** What an address stands for: a name, or itself. Undefined for one of ours that was never given. */
  hostOf(address: readonly number[] | Uint8Array): string | undefined;
}

const FIRST_BYTE = 198;
const SECOND_BYTE = 18;
/** 198.18.0.0/15 holds twice as many. */
const MAX_NAMES = 65_535;
const MAX_NAME_CHARACTERS = 253;

const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
const UDP_BYTES = 8;
const DNS_BYTES = 12;
const DNS_PORT = 53;
const TYPE_A = 1;
const CLASS_IN = 1;
const ANSWER_BYTES = 16;
/** Response, recursion wanted and there. */
const FLAGS = 0x8180;
const SERVER_FAILURE = 2;
const TTL_SECONDS = 60;

export function createNameServer(): NameServer {
  const numbers = new Map<string, number>();
  const names: string[] = [];

  const addressFor = (name: string): number[] | undefined => {
    let number = numbers.get(name);
    if (number === undefined) {
      if (names.length === MAX_NAMES) return undefined;
      number = names.push(name);
      numbers.set(name, number);
    }
    return [FIRST_BYTE, SECOND_BYTE, number >> 8, number & 0xff];
  };
  return {
    answer(frame) {
      const question = parseQuestion(frame);
      if (!question) return undefined;
      const wanted = question.type === TYPE_A && question.class === CLASS_IN;
      const address = wanted ? addressFor(question.name) : undefined;
      return writeAnswer(frame, question, address, wanted && !address ? SERVER_FAILURE : 0);
    },
    hostOf(address) {
      const [a = 0, b = 0, c = 0, d = 0] = address;
      if (a !== FIRST_BYTE || (b & 0xfe) !== SECOND_BYTE) return [a, b, c, d].join(".");
      return b === SECOND_BYTE ? names[((c << 8) | d) - 1] : undefined;
    },
  };
}

interface Question {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Where the IP header, the DNS message and what follows its first question begin in the frame. */
  readonly dnsOffset: number;
  readonly endOffset: number;
}

/** The first question of a DNS query over UDP and IPv4. */
function parseQuestion(frame: Uint8Array): Question | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const headers = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES;
  if (frame.length < headers + DNS_BYTES || view.getUint16(12) !== 0x0800) return undefined;
  // Plain IPv4 header, UDP.
  if (frame[ETHERNET_BYTES] !== 0x45 || frame[ETHERNET_BYTES + 9] !== 17) return undefined;
  if (view.getUint16(ETHERNET_BYTES + IPV4_BYTES + 2) !== DNS_PORT) return undefined;
  const isResponse = (frame[headers + 2] ?? 0) & 0x80;
  if (isResponse || view.getUint16(headers + 4) === 0) return undefined;
  const labels: string[] = [];
  let at = headers + DNS_BYTES;
  for (let length = frame[at] ?? 0; length > 0; length = frame[at] ?? 0) {
    const label = frame.subarray(at + 1, at + 1 + length);
    if (length > 63 || label.length < length) return undefined;
    labels.push(String.fromCharCode(...label).toLowerCase());
    at += 1 + length;
  }
  at++;
  const name = labels.join(".");
  if (at + 4 > frame.length || name.length > MAX_NAME_CHARACTERS || !/^[a-z0-9._-]+$/.test(name))
    return undefined;
  const [type, kind] = [view.getUint16(at), view.getUint16(at + 2)];
  return { name, type, class: kind, dnsOffset: headers, endOffset: at + 4 };
}

function writeAnswer(
  query: Uint8Array,
  { dnsOffset, endOffset }: Question,
  address: readonly number[] | undefined,
  code: number,
): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(endOffset + (address ? ANSWER_BYTES : 0));
  frame.set(query.subarray(0, endOffset));
  const view = new DataView(frame.buffer);
  const swap = (a: number, b: number, length: number) => {
    const first = frame.slice(a, a + length);
    frame.copyWithin(a, b, b + length);
    frame.set(first, b);
  };
  swap(0, 6, 6);
  swap(ETHERNET_BYTES + 12, ETHERNET_BYTES + 16, 4);
  const udp = ETHERNET_BYTES + IPV4_BYTES;
  swap(udp, udp + 2, 2);
  view.setUint16(ETHERNET_BYTES + 2, frame.length - ETHERNET_BYTES);
  view.setUint16(ETHERNET_BYTES + 10, 0);
  view.setUint16(ETHERNET_BYTES + 10, headerSum(view));
  view.setUint16(udp + 4, frame.length - udp);
  // No checksum, as IPv4 allows.
  view.setUint16(udp + 6, 0);
  view.setUint16(dnsOffset + 2, FLAGS | code);
  view.setUint16(dnsOffset + 4, 1);
  view.setUint16(dnsOffset + 6, address ? 1 : 0);
  view.setUint32(dnsOffset + 8, 0);
  if (address) {
    // The name of the question.
    view.setUint16(endOffset, 0xc000 | DNS_BYTES);
    view.setUint16(endOffset + 2, TYPE_A);
    view.setUint16(endOffset + 4, CLASS_IN);
    view.setUint32(endOffset + 6, TTL_SECONDS);
    view.setUint16(endOffset + 10, address.length);
    frame.set(address, endOffset + 12);
  }
  return frame;
}

function headerSum(view: DataView): number {
  let sum = 0;
  for (let at = 0; at < IPV4_BYTES; at += 2) sum += view.getUint16(ETHERNET_BYTES + at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
