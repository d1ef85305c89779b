import type { ComponentType } from "react";
import { Route, Router, Switch } from "wouter";
import { useHashLocation } from "wouter/use-hash-location";
import { late } from "./components/late.tsx";
import { usePageLocation } from "./components/page-location.ts";
import { DropTarget } from "./pages/drop-target.tsx";
import { GalleryPage } from "./pages/gallery-page.tsx";
import { PageFrame } from "./pages/page-frame.tsx";

const latePage = <Props extends object>(load: () => Promise<ComponentType<Props>>) =>
  late(load, { frame: (notice) => <PageFrame title="Not there yet">{notice}</PageFrame> });

const AppliancePage = latePage(async () => (await import("./pages/appliance-page.tsx")).AppliancePage);
const FilesPage = latePage(async () => (await import("./pages/files-page.tsx")).FilesPage);
const StoragePage = latePage(async () => (await import("./storage/storage-page.tsx")).StoragePage);
const MachinePage = latePage(async () => (await import("./pages/machine-page.tsx")).MachinePage);

export function App() {
  const [location] = useHashLocation();
  return (
    <Router hook={usePageLocation} hrefs={(href) => `#${href}`}>
      <DropTarget>
        <Switch>
          <Route path="/">
            <GalleryPage />
          </Route>
          <Route path="/appliance">
            <AppliancePage location={location} />
          </Route>
          <Route path="/files">
            <FilesPage />
          </Route>
          <Route path="/storage">
            <StoragePage />
          </Route>
          {/* One route for all the rest: on the way from a link to its machine the page stays the same. */}
          <Route>
            <MachinePage location={location} />
          </Route>
        </Switch>
      </DropTarget>
    </Router>
  );
}
