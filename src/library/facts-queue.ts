import { type ApplianceFacts, readApplianceFacts } from "./appliance-facts.ts";

/** So many looks at once: a browser has six connections to a server, and a machine may need some. */
const LOOKS_AT_ONCE = 4;

/** Looks at appliances a few at a time, each once. */
export interface FactsQueue {
  /** Asks for an appliance to be looked at; nothing happens when it was asked for before. */
  look(url: string): void;
}

/**
 * @param onFacts told what was found, in the order the answers come.
 * @param signal ends all looks, and what waits.
 */
export function createFactsQueue(
  onFacts: (url: string, facts: ApplianceFacts) => void,
  signal: AbortSignal,
  read: (url: string, signal: AbortSignal) => Promise<ApplianceFacts> = readApplianceFacts,
): FactsQueue {
  const asked = new Set<string>();
  const waiting: string[] = [];
  let running = 0;

  async function lookAt(url: string): Promise<void> {
    running++;
    try {
      onFacts(url, await read(url, signal));
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      running--;
    }
    next();
  }

  function next(): void {
    while (running < LOOKS_AT_ONCE && !signal.aborted) {
      const url = waiting.shift();
      if (url === undefined) return;
      void lookAt(url);
    }
  }

  return {
    look(url) {
      if (asked.has(url)) return;
      asked.add(url);
      waiting.push(url);
      next();
    },
  };
}
