import { ExitCode, ExitError } from "./exit.ts";

/**
 * Splits QEMU's `name=value,name=value`; a comma in a value is doubled. A name alone is a switch: `on`, and
 * `noNAME` is `off`.
 *
 * @returns pairs in the order given; the last of one name counts.
 */
export function parseOptionString(text: string): [name: string, value: string][] {
  const pairs: [string, string][] = [];
  for (const part of splitCommas(text)) {
    const equals = part.indexOf("=");
    if (equals >= 0) pairs.push([part.slice(0, equals), part.slice(equals + 1)]);
    else if (part.startsWith("no") && part.length > 2) pairs.push([part.slice(2), "off"]);
    else if (part !== "") pairs.push([part, "on"]);
  }
  return pairs;
}

/** Whether the list asks for help (`-o help`, `-o ?`) instead. */
export function asksForHelp(text: string): boolean {
  return splitCommas(text).some((part) => part === "help" || part === "?");
}

/**
 * QEMU's `on` and `off`.
 *
 * @param label begins the message.
 * @throws ExitError naming the option.
 */
export function parseSwitch(name: string, value: string, label?: string): boolean {
  if (value === "on" || value === "yes" || value === "true" || value === "y") return true;
  if (value === "off" || value === "no" || value === "false" || value === "n") return false;
  throw new ExitError(
    ExitCode.FAILED,
    `${label ? `${label}: ` : ""}Parameter '${name}' expects 'on' or 'off'`,
  );
}

function splitCommas(text: string): string[] {
  const parts: string[] = [];
  let part = "";
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== ",") part += text[at];
    else if (text[at + 1] === ",") {
      part += ",";
      at++;
    } else {
      parts.push(part);
      part = "";
    }
  }
  parts.push(part);
  return parts;
}
