import { lazy, Suspense } from "react";
import { Route, Router, Switch } from "wouter";
import { useHashLocation } from "wouter/use-hash-location";
import { usePageLocation } from "./components/page-location.ts";
import { DropTarget } from "./pages/drop-target.tsx";
import { GalleryPage } from "./pages/gallery-page.tsx";

const AppliancePage = lazy(async () => ({
  default: (await import("./pages/appliance-page.tsx")).AppliancePage,
}));
const FilesPage = lazy(async () => ({ default: (await import("./pages/files-page.tsx")).FilesPage }));
const StoragePage = lazy(async () => ({ default: (await import("./storage/storage-page.tsx")).StoragePage }));
const MachinePage = lazy(async () => ({ default: (await import("./pages/machine-page.tsx")).MachinePage }));

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
            <Suspense fallback={null}>
              <AppliancePage location={location} />
            </Suspense>
          </Route>
          <Route path="/files">
            <Suspense fallback={null}>
              <FilesPage />
            </Suspense>
          </Route>
          <Route path="/storage">
            <Suspense fallback={null}>
              <StoragePage />
            </Suspense>
          </Route>
          {/* One route for all the rest: on the way from a link to its machine the page stays the same. */}
          <Route>
            <Suspense fallback={null}>
              <MachinePage location={location} />
            </Suspense>
          </Route>
        </Switch>
      </DropTarget>
    </Router>
  );
}
