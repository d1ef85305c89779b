import { ByreError } from "../errors.ts";

/** Where requests go and what ends them. */
export interface HttpSource {
  url: string;
  /** For messages. */
  name: string;
  fetch: typeof fetch;
  /** Ends every request; its reason is the error they end with. */
  signal: AbortSignal;
  /** Milliseconds without a byte after which a request counts as lost. */
  stallAfterMs: number;
}

/** A request under way: its response, then its body by pieces. */
export interface HttpExchange {
  response: Response;
  /**
   * Gives the body to `take`, piece by piece.
   *
   * @throws ByreError NETWORK when the connection is lost, what `take` throws, or the signal's reason.
   */
  readBody(take: (piece: Uint8Array) => void): Promise<void>;
  /** Gives up the body. */
  cancel(): void;
}

/**
 * Asks for a range, or for the whole when `range` is left out.
 *
 * No conditional header is sent: `If-Match` and `If-Range` would cost a preflight cross-origin, and
 * comparing what the answer says is enough. `Range: bytes=a-b` costs none.
 *
 * @throws ByreError NETWORK; NOT_FOUND for 404 and 410, HTTP_STATUS for any other status but 200, 206, 416;
 *   the signal's reason.
 */
export async function request(
  source: HttpSource,
  range: { startBytes: number; endBytes: number } | undefined,
  priority: "auto" | "low" = "auto",
): Promise<HttpExchange> {
  const controller = new AbortController();
  const end = () => controller.abort(source.signal.reason);
  source.signal.addEventListener("abort", end, { once: true });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const watch = () => {
    clearTimeout(timer);
    timer = setTimeout(() => controller.abort(stalled(source)), source.stallAfterMs);
  };
  const finish = () => {
    clearTimeout(timer);
    source.signal.removeEventListener("abort", end);
  };

  try {
    source.signal.throwIfAborted();
    watch();
    const response = await source.fetch(source.url, {
      headers: range ? { Range: `bytes=${range.startBytes}-${range.endBytes - 1}` } : {},
      // Chromium's cache makes requests for one URL wait for each other and has answered 200 for a 206.
      cache: "no-store",
      priority,
      signal: controller.signal,
    });
    clearTimeout(timer);
    checkStatus(source, response);
    return {
      response,
      async readBody(take) {
        try {
          await readPieces(response, controller.signal, take, watch);
        } catch (error) {
          throw explain(source, controller.signal, error, "body");
        } finally {
          finish();
        }
      },
      cancel() {
        finish();
        controller.abort();
      },
    };
  } catch (error) {
    finish();
    const explained = explain(source, controller.signal, error, "response");
    controller.abort();
    throw explained;
  }
}

async function readPieces(
  response: Response,
  signal: AbortSignal,
  take: (piece: Uint8Array) => void,
  watch: () => void,
): Promise<void> {
  signal.throwIfAborted();
  const reader = response.body?.getReader();
  if (!reader) return;
  // Node's fetch leaves a read unanswered for ever when it is aborted at the very end of the body.
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  aborted.catch(() => {});
  try {
    for (;;) {
      watch();
      const { done, value } = await Promise.race([reader.read(), aborted]);
      if (done) return;
      take(value);
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  }
}

function checkStatus(source: HttpSource, { status, statusText }: Response): void {
  if (status === 200 || status === 206 || status === 416) return;
  const data = { file: source.name, url: source.url, status };
  if (status === 404 || status === 410) {
    throw new ByreError(
      "NOT_FOUND",
      `${source.name}: the server at ${originOf(source.url)} has no such file (HTTP ${status}). Check the link.`,
      data,
    );
  }
  throw new ByreError(
    "HTTP_STATUS",
    `${source.name}: the server at ${originOf(source.url)} answered HTTP ${status} ${statusText}`.trimEnd() +
      (status >= 500 ? ". Try again later." : ". Check the link, and whether the file is public."),
    data,
  );
}

function explain(
  source: HttpSource,
  signal: AbortSignal,
  error: unknown,
  during: "response" | "body",
): ByreError {
  if (signal.aborted && signal.reason instanceof ByreError) return signal.reason;
  if (error instanceof ByreError) return error;
  const origin = originOf(source.url);
  const data = { file: source.name, url: source.url };
  if (during === "body")
    return new ByreError(
      "NETWORK",
      `${source.name}: the connection to ${origin} was lost. Try again.`,
      data,
      error,
    );
  return new ByreError(
    "NETWORK",
    `${source.name}: could not be fetched from ${origin}. Either the connection failed, or that server does ` +
      "not let other sites read its files: it must send Access-Control-Allow-Origin, and expose " +
      "Content-Range and ETag with Access-Control-Expose-Headers.",
    data,
    error,
  );
}

function stalled(source: HttpSource): ByreError {
  return new ByreError(
    "NETWORK",
    `${source.name}: ${originOf(source.url)} has sent nothing for ${source.stallAfterMs / 1000} s. Try again.`,
    { file: source.name, url: source.url },
  );
}

/** The part of an address that says whose server it is. */
export function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : "this page's server";
}
