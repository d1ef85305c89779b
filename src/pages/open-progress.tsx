import { useSyncExternalStore } from "react";
import { Button } from "../components/button.tsx";
import { goTo } from "../components/page-location.ts";
import { ProgressList } from "../components/progress-list.tsx";
import type { OpenRequest } from "../open/open-machine.ts";
import type { Progress } from "../open/progress.ts";
import { PageFrame } from "./page-frame.tsx";
import { useRequestTitle } from "./request-title.ts";
import { usePageTitle } from "./use-page-title.ts";

export interface OpenProgressProps {
  request: OpenRequest;
  progress: Progress;
  onCancel: () => void;
}

export function OpenProgress({ request, progress, onCancel }: OpenProgressProps) {
  const steps = useSyncExternalStore(progress.onChange, progress.steps);
  const title = useRequestTitle(request);
  usePageTitle(`Starting ${title} - Byre`);
  const cancel = () => {
    onCancel();
    goTo("/");
  };
  return (
    <PageFrame title={`Starting ${title}`}>
      <ProgressList steps={steps} />
      <div>
        <Button onPress={cancel}>Cancel</Button>
      </div>
    </PageFrame>
  );
}
