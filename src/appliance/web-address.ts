/** Longer addresses are no addresses for people, and could not be shown before they are opened. */
const MAX_ADDRESS_LENGTH = 2000;

/**
 * An address of the web out of a stranger's text, in the form a browser would go to (the host in ASCII).
 *
 * @returns undefined for anything but http and https, and for an address with a user name in it, which is there to
 *   make a host look like another.
 */
export function webAddress(text: string): string | undefined {
  if (text.length > MAX_ADDRESS_LENGTH || !/^https?:\/\/[^\s\\]+$/i.test(text) || !URL.canParse(text))
    return undefined;
  const url = new URL(text);
  if (url.username !== "" || url.password !== "" || url.hostname === "") return undefined;
  return url.href.length > MAX_ADDRESS_LENGTH ? undefined : url.href;
}
