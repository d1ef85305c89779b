import type { ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app.tsx";
import { startTheme } from "./library/theme.ts";
import { embeddedImage, openAddress } from "./open/open-address.ts";
import { installPageApi } from "./page-api.ts";
import { PageFailure } from "./pages/page-failure.tsx";
import "./styles/base.css";

installPageApi();
// Before anything is drawn: React shows a page that it had to load some 300 ms after it began, and a machine
// need not wait for that.
const address = location.hash.slice(1);
const embedded = embeddedImage(address);
// What is in the frame, and who may drive it, is decided once: another address is another page. The page around it
// can change the address at any moment, and must not get a machine that was started under another one.
if (embedded) addEventListener("hashchange", () => location.reload());
openAddress(address);
await startTheme();
const element = document.getElementById("root");
if (!element) throw new Error("index.html has no element with the id root.");
const root = createRoot(element);
const draw = (page: ReactNode) => root.render(<PageFailure>{page}</PageFailure>);
if (embedded) {
  const { EmbedApp } = await import("./embed/embed-app.tsx");
  draw(<EmbedApp image={embedded} />);
} else draw(<App />);
