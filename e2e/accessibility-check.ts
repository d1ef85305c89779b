import type { Page } from "@playwright/test";
import axe from "axe-core";

/** What axe finds wrong with the page as it is, a line each. */
export async function violations(page: Page): Promise<string[]> {
  // Not a script element: the page's policy would not run it.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() =>
    (window as unknown as { axe: typeof axe }).axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }),
  );
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}`));
}
