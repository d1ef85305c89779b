// @ts-check
import { join } from "node:path";
import { serveStatic } from "./serve-static.mjs";
import {
  ensureAppliance,
  ensureDependencies,
  ensurePage,
  projectFolder,
  run,
  StepFailed,
  say,
} from "./steps.mjs";

/** `npm start` and `npm run build`, `dev` and `appliance`: whatever is missing is made first. */

const mode = process.argv[2] ?? "start";
const port = Number(process.env.PORT ?? 5173);

try {
  await ensureDependencies();
  const hasAppliance = await ensureAppliance();
  if (!hasAppliance && mode !== "appliance")
    say("going on without the demo appliance: images can still be dropped on the page");
  if (mode === "appliance") process.exitCode = hasAppliance ? 0 : 1;
  else if (mode === "dev") await run(process.execPath, ["node_modules/vite/bin/vite.js"]);
  else {
    await ensurePage();
    if (mode === "build") say("the site is in dist/: put it on any static host");
    else await serve();
  }
} catch (error) {
  if (!(error instanceof StepFailed)) throw error;
  console.error(`byre: ${error.message}`);
  process.exitCode = 1;
}

async function serve() {
  try {
    const server = await serveStatic({ root: join(projectFolder, "dist"), port });
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void server.close());
    say(`open ${server.origin}  (Ctrl-C ends it)`);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EADDRINUSE")) throw error;
    throw new StepFailed(`Port ${port} is in use. Choose another: PORT=8080 npm start`);
  }
}
