/**
 * Drives a Byre machine in a frame by messages. Copy it, it needs nothing else.
 *
 * @param {HTMLIFrameElement} frame its address has `embed=1` and `origin=` with this page's origin.
 * @returns a function that asks for something and gives a promise of the answer, and `on` for events.
 */
export function connect(frame) {
  const byreOrigin = new URL(frame.src).origin;
  const waiting = new Map();
  const events = new EventTarget();
  let count = 0;
  let ready;
  const whenReady = new Promise((resolve) => {
    ready = resolve;
  });

  addEventListener("message", ({ source, origin, data }) => {
    // Other frames and other sites send messages too.
    if (source !== frame.contentWindow || origin !== byreOrigin || data?.byre !== 1) return;
    if (data.event === "ready") ready();
    else if (data.event) events.dispatchEvent(new CustomEvent(data.event, { detail: data.data }));
    else {
      const { resolve, reject } = waiting.get(data.id) ?? {};
      waiting.delete(data.id);
      if (data.error) reject?.(Object.assign(new Error(data.error.message), { code: data.error.code }));
      else resolve?.(data.result);
    }
  });

  return {
    /** call("serial.send", "ls\n") */
    async call(method, ...params) {
      await whenReady;
      return new Promise((resolve, reject) => {
        const id = ++count;
        waiting.set(id, { resolve, reject });
        frame.contentWindow.postMessage({ byre: 1, id, method, params }, byreOrigin);
      });
    },
    /** on("serial", (text) => ...), after call("subscribe"). */
    on: (event, listener) => events.addEventListener(event, ({ detail }) => listener(detail)),
  };
}
