import axe from "axe-core";
import type { ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { page, userEvent } from "vitest/browser";
import { waitFor } from "../testing/wait-for.ts";
import "../styles/base.css";
import { AboutForm } from "./about-form.tsx";
import { ApplianceIcon } from "./appliance-icon.tsx";
import { FirstRunMessage } from "./first-run-message.tsx";
import { iconOf, readIcon } from "./icon-data.ts";
import { LicenceQuestion } from "./licence-question.tsx";
import { MarkdownText } from "./markdown-text.tsx";

const SCRIPT = "<script>window.stranger = 1</script><img src=x onerror='window.stranger = 1'>";

let root: Root;
let host: HTMLElement;

beforeEach(() => {
  host = document.body.appendChild(document.createElement("div"));
  root = createRoot(host);
});

afterEach(() => {
  root.unmount();
  host.remove();
});

function show(node: ReactNode): void {
  root.render(node);
}

async function violations(): Promise<string[]> {
  const { violations } = await axe.run(host, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"] });
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}`));
}

/** A picture that a browser made. */
async function picture(type: string, width: number, height: number): Promise<Blob> {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  for (let at = 0; at < width; at += 4) {
    if (context) context.fillStyle = `hsl(${at * 7} 80% 50%)`;
    context?.fillRect(at, 0, 4, height);
  }
  return canvas.convertToBlob({ type });
}

describe("a message", () => {
  it("makes no element and no attribute of what a stranger wrote", async () => {
    const hostile = [
      SCRIPT,
      "[a](javascript:stranger=1)",
      "[b](data:text/html,x)",
      "![c](https://example.org/c.png)",
      "# <b onclick=x>",
    ];
    show(<MarkdownText text={hostile.join("\n\n")} headingLevel={3} />);
    await expect.element(page.getByRole("heading", { level: 3 })).toHaveTextContent("<b onclick=x>");
    expect(host.querySelectorAll("script, img, b, a, iframe, style, [onclick], [href], [src]")).toHaveLength(
      0,
    );
    expect(host.textContent).toContain(SCRIPT);
    expect("stranger" in window).toBe(false);
  });

  it("of a megabyte is shown without holding the page up", async () => {
    const text = "**a** *b* `c` [d](https://example.org) ".repeat(26_000);
    const before = performance.now();
    show(<MarkdownText text={text} headingLevel={3} />);
    await waitFor(() => expect(host.textContent?.length).toBeGreaterThan(500_000));
    expect(performance.now() - before).toBeLessThan(15_000);
    expect(host.querySelectorAll("*").length).toBeLessThan(5000);
  });
});

describe("an icon", () => {
  it.each(["image/png", "image/jpeg", "image/webp"])("of %s that a browser made is drawn", async (type) => {
    const icon = iconOf(new Uint8Array(await (await picture(type, 64, 32)).arrayBuffer()));
    expect(icon).toMatchObject({ type, width: 64, height: 32 });
    show(<ApplianceIcon icon={icon} name="Notes" />);
    await waitFor(() => expect(host.querySelector("canvas")?.hidden).toBe(false));
  });

  it("that cannot be decoded leaves the stand-in", async () => {
    const bytes = new Uint8Array(64);
    bytes.set([
      0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52, 0, 0, 0, 8, 0, 0, 0, 8,
    ]);
    const icon = iconOf(bytes);
    expect(icon).toBeDefined();
    const failed = vi.spyOn(window, "createImageBitmap");
    show(<ApplianceIcon icon={icon} name="Notes" />);
    await waitFor(() => expect(failed).toHaveBeenCalled());
    await expect(failed.mock.results[0]?.value).rejects.toThrow();
    expect(host.querySelector("canvas")?.hidden).toBe(true);
    expect(host.textContent).toBe("N");
    failed.mockRestore();
  });
});

describe("the question for a licence", () => {
  const ask = (text: string) => {
    const onAccept = vi.fn();
    const onDecline = vi.fn();
    const licence = { title: "Notes Licence", text };
    show(
      <LicenceQuestion
        name="Notes"
        icon={undefined}
        licence={licence}
        onAccept={onAccept}
        onDecline={onDecline}
      />,
    );
    return { onAccept, onDecline };
  };

  it("is answered with the keyboard alone", async () => {
    const { onAccept, onDecline } = ask("You may run this.");
    await expect.element(page.getByRole("heading", { level: 1 })).toHaveTextContent("Notes");
    expect(await violations()).toEqual([]);
    const accept = page.getByRole("button", { name: "Accept and start" });
    for (let presses = 0; presses < 10 && document.activeElement !== accept.element(); presses++)
      await userEvent.tab();
    await userEvent.keyboard("{Enter}");
    expect(onAccept).toHaveBeenCalledOnce();
    await userEvent.tab();
    await userEvent.keyboard("{Enter}");
    expect(onDecline).toHaveBeenCalledOnce();
  });

  it("shows the whole of a text of a megabyte, as text", async () => {
    const text = `${SCRIPT}\n${"Nobody reads this. ".repeat(55_000)}`;
    ask(text);
    const region = page.getByRole("region", { name: "Notes Licence" });
    await waitFor(() => expect(region.element().textContent).toHaveLength(text.length));
    expect(host.querySelectorAll("script, img")).toHaveLength(0);
    await expect.element(page.getByRole("button", { name: "Decline" })).toBeInTheDocument();
  });
});

describe("the message of the first run", () => {
  it("is closed by its button and by Escape, and does not take the focus", async () => {
    const onClose = vi.fn();
    show(<FirstRunMessage name="Notes" message={"# Hello\n\nPress **Enter**."} onClose={onClose} />);
    await expect.element(page.getByRole("complementary", { name: "Notes" })).toBeInTheDocument();
    expect(host.contains(document.activeElement)).toBe(false);
    expect(await violations()).toEqual([]);
    await userEvent.click(page.getByRole("button", { name: "Got it" }));
    expect(onClose).toHaveBeenCalledOnce();
    await userEvent.keyboard("{Escape}");
    expect(onClose).toHaveBeenCalledTimes(2);
  });
});

describe("the form about a machine", () => {
  const METADATA = new Map([
    ["appliance.name", "Notes"],
    ["own.key", "kept"],
    ["boot.prefetch", "0-3"],
  ]);
  const open = (
    onSave: (metadata: ReadonlyMap<string, string>) => Promise<void>,
    { metadata = METADATA, snapshotNames = [] as string[] } = {},
  ) =>
    show(
      <AboutForm
        metadata={metadata}
        roomBytes={60_000}
        snapshotNames={snapshotNames}
        onSave={onSave}
        onCancel={() => {}}
      />,
    );

  it("saves what was changed and keeps the rest", async () => {
    const onSave = vi.fn(async () => {});
    open(onSave);
    await userEvent.fill(page.getByLabelText("Name", { exact: true }), "Field Notes");
    await userEvent.fill(page.getByLabelText("What to say when it first runs"), "# Hello");
    await userEvent.click(page.getByText("How it will look"));
    await expect.element(page.getByRole("heading", { name: "Hello" })).toBeVisible();
    await userEvent.click(page.getByRole("button", { name: "Remove boot.prefetch" }));
    expect(await violations()).toEqual([]);
    await userEvent.click(page.getByRole("button", { name: "Save" }));
    await waitFor(() =>
      expect(onSave).toHaveBeenCalledWith(
        new Map([
          ["appliance.name", "Field Notes"],
          ["own.key", "kept"],
          ["appliance.message", "# Hello"],
        ]),
      ),
    );
  });

  it("offers the snapshots to begin from, and names one that is gone", async () => {
    const onSave = vi.fn(async () => {});
    open(onSave);
    expect(page.getByLabelText("Where it begins").elements()).toEqual([]);
    const metadata = new Map([["machine.snapshot", "gone"]]);
    open(onSave, { metadata, snapshotNames: ["ready", "later"] });
    const field = page.getByLabelText("Where it begins");
    await expect.element(field).toHaveValue("gone");
    await expect.element(page.getByText('From "gone", which is not here')).toBeInTheDocument();
    expect(await violations()).toEqual([]);
    await userEvent.selectOptions(field, "ready");
    await userEvent.click(page.getByRole("button", { name: "Save" }));
    await waitFor(() => expect(onSave).toHaveBeenCalledWith(new Map([["machine.snapshot", "ready"]])));
  });

  it("says what to shrink, and saves nothing that does not fit", async () => {
    const onSave = vi.fn(async () => {});
    open(onSave);
    const noise = Array.from(crypto.getRandomValues(new Uint8Array(50_000)), (byte) => (byte % 64) + 48);
    await userEvent.fill(page.getByLabelText("Licence", { exact: true }), String.fromCharCode(...noise));
    await expect.element(page.getByText(/too large for the image\. Shorten the licence/)).toBeVisible();
    await expect.element(page.getByRole("button", { name: "Save" })).toBeDisabled();
    await userEvent.fill(page.getByLabelText("Licence", { exact: true }), "MIT");
    await expect.element(page.getByRole("button", { name: "Save" })).toBeEnabled();
    await userEvent.fill(page.getByLabelText("Home page"), "javascript:alert(1)");
    await expect.element(page.getByText("This is no web address.")).toBeVisible();
    await expect.element(page.getByRole("button", { name: "Save" })).toBeDisabled();
    expect(onSave).not.toHaveBeenCalled();
  });

  it("keeps what was typed when saving fails, and says why", async () => {
    open(() => Promise.reject(new Error("The storage is full.")));
    await userEvent.fill(page.getByLabelText("Name", { exact: true }), "Typed");
    await userEvent.click(page.getByRole("button", { name: "Save" }));
    await expect.element(page.getByRole("alert")).toHaveTextContent("The storage is full.");
    await expect.element(page.getByLabelText("Name", { exact: true })).toHaveValue("Typed");
  });

  it("makes a small icon of a large picture, and takes nothing that is none", async () => {
    const onSave = vi.fn(async (_: ReadonlyMap<string, string>) => {});
    open(onSave);
    const choose = (file: File) => {
      const input = host.querySelector<HTMLInputElement>('input[type="file"]');
      if (!input) throw new Error("There is nothing to choose a file with.");
      return userEvent.upload(input, file);
    };
    await expect.element(page.getByRole("button", { name: "Choose a picture" })).toBeVisible();
    await choose(new File(["<svg xmlns='http://www.w3.org/2000/svg'/>"], "drawn.png", { type: "image/png" }));
    await expect.element(page.getByText("drawn.png is no picture")).toBeVisible();
    await choose(new File([await picture("image/png", 1600, 1200)], "photo.png", { type: "image/png" }));
    await expect.element(page.getByRole("button", { name: "Remove it" })).toBeVisible();
    await userEvent.click(page.getByRole("button", { name: "Save" }));
    await waitFor(() => expect(onSave).toHaveBeenCalled());
    const icon = readIcon(onSave.mock.calls[0]?.[0].get("appliance.icon") ?? "");
    expect(icon?.width).toBeLessThanOrEqual(192);
    expect(icon?.bytes.length).toBeLessThanOrEqual(12 * 1024);
  });
});
