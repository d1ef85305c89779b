/**
 * JSON as QEMU prints it: four spaces, one item a line in empty lists too, and ASCII only, so that what an
 * image's author wrote cannot steer a terminal.
 *
 * @param value of plain objects, arrays, strings, numbers, bigints and booleans; undefined entries are left out.
 */
export function qemuJson(value: unknown): string {
  return print(value, "");
}

function print(value: unknown, indent: string): string {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "string") return quoted(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const deeper = `${indent}    `;
  const isList = Array.isArray(value);
  const items = isList
    ? value.map((item) => deeper + print(item, deeper))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([name, item]) => `${deeper}${quoted(name)}: ${print(item, deeper)}`);
  const [open, close] = isList ? "[]" : "{}";
  return [open, ...(items.length > 0 ? [items.join(",\n")] : []), indent + close].join("\n");
}

function quoted(text: string): string {
  return JSON.stringify(text).replace(
    // What JSON leaves as it is though it is not printable ASCII.
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`,
  );
}
