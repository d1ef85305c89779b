import { createRoot } from "react-dom/client";
import { App } from "./app.tsx";
import { startTheme } from "./library/theme.ts";
import { installPageApi } from "./page-api.ts";
import "./styles/base.css";

installPageApi();
await startTheme();
const root = document.getElementById("root");
if (!root) throw new Error("index.html has no element with the id root.");
createRoot(root).render(<App />);
