import { useEffect, useRef, useSyncExternalStore } from "react";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { Notice } from "../components/notice.tsx";
import { ProgressList } from "../components/progress-list.tsx";
import { type ImageLink, imageHash } from "../open/machine-link.ts";
import type { OpenRequest } from "../open/open-machine.ts";
import { opener } from "../open/opener.ts";
import type { Progress } from "../open/progress.ts";
import { useOpenState } from "../open/use-opener.ts";
import { PageFrame } from "../pages/page-frame.tsx";
import { StartQuestion } from "../pages/start-question.tsx";
import { useKeyRelease } from "../pages/use-key-release.ts";
import styles from "./embed-app.module.css";
import { EmbedView } from "./embed-view.tsx";
import { FullPageLink } from "./full-page-link.tsx";
import { serveEmbedder } from "./serve-embedder.ts";

/** A machine in a frame of another page: the machine and what has to be asked before it, nothing around it. */
export function EmbedApp({ image }: { image: ImageLink }) {
  const { embed } = image;
  const frame = useRef<HTMLDivElement>(null);
  useKeyRelease(frame);
  useEffect(() => {
    if (!embed || window.parent === window) return undefined;
    return serveEmbedder(embed.origins, opener, { self: window, parent: window.parent });
  }, [embed]);
  return (
    <div className={styles.app} ref={frame}>
      <Shown image={image} />
      <footer>
        <FullPageLink hash={imageHash({ ...image, embed: undefined }, document.baseURI)} />
      </footer>
    </div>
  );
}

function Shown({ image }: { image: ImageLink }) {
  const state = useOpenState();
  const start = () => void opener.open({ kind: "image", image }).catch(() => {});
  switch (state.phase) {
    case "opening":
      return <Opening progress={state.progress} onCancel={state.cancel} />;
    case "asking-start":
      return <StartQuestion asked={state} onDecline={state.cancel} declineLabel="Not now" />;
    case "failed":
      return <Failed request={state.request} code={state.error.code} message={state.error.message} />;
    case "open":
      return <EmbedView session={state.session} />;
    default:
      return (
        <PageFrame title="Not started">
          <p>Nothing of it is kept.</p>
          <Buttons>
            <Button look="primary" onPress={start}>
              Start
            </Button>
          </Buttons>
        </PageFrame>
      );
  }
}

function Opening({ progress, onCancel }: { progress: Progress; onCancel: () => void }) {
  const steps = useSyncExternalStore(progress.onChange, progress.steps);
  return (
    <PageFrame title="Starting">
      <ProgressList steps={steps} />
      <div>
        <Button onPress={onCancel}>Cancel</Button>
      </div>
    </PageFrame>
  );
}

function Failed({ request, code, message }: { request: OpenRequest; code: string; message: string }) {
  return (
    <PageFrame title="Could not start">
      <Notice tone="danger" code={code}>
        <p>{message}</p>
      </Notice>
      <Buttons>
        <Button look="primary" onPress={() => void opener.open(request).catch(() => {})}>
          Try again
        </Button>
      </Buttons>
    </PageFrame>
  );
}
