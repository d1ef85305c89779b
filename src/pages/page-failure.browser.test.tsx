import { createRoot } from "react-dom/client";
import { expect, onTestFinished, test } from "vitest";
import { page } from "vitest/browser";
import { PageFailure } from "./page-failure.tsx";

test("a page that cannot be drawn says so, and is drawn again when that is asked for", async () => {
  const host = document.body.appendChild(document.createElement("div"));
  const root = createRoot(host, { onCaughtError: () => {} });
  onTestFinished(() => {
    root.unmount();
    host.remove();
  });
  let broken = true;
  const Content = () => {
    if (broken) throw new Error("no such thing");
    return <p>All is well.</p>;
  };
  root.render(
    <PageFailure>
      <Content />
    </PageFailure>,
  );
  await expect.element(page.getByRole("alert")).toHaveTextContent("no such thing");
  broken = false;
  await page.getByRole("button", { name: "Show the page again" }).click();
  await expect.element(page.getByText("All is well.")).toBeVisible();
  expect(host.querySelector("[role=alert]")).toBeNull();
});
