import type { LinkEvents, NetworkLink } from "./network.ts";
import { openRelayConnection } from "./relay-connection.ts";

/** A header, and a full frame with a tag. Others are no frames. */
const MIN_FRAME_BYTES = 14;
const MAX_FRAME_BYTES = 1518;

/** A relay of Ethernet frames, each a message. */
export function connectEthernetRelay(url: string, events: LinkEvents): NetworkLink {
  const connection = openRelayConnection(url, events, {
    readyWhenOpen: true,
    onMessage(frame) {
      if (frame.length >= MIN_FRAME_BYTES && frame.length <= MAX_FRAME_BYTES) events.receive(frame);
    },
    onEnd() {},
  });
  return {
    send(frame) {
      // What a wire has no room for is lost; the guest sends it again.
      if (connection.hasRoom) connection.send(new Uint8Array(frame));
    },
    forget() {},
    close: () => connection.close(),
  };
}
