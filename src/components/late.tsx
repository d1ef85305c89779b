import { type ComponentType, type ReactNode, useLayoutEffect, useReducer, useState } from "react";
import { Button } from "./button.tsx";
import { Notice } from "./notice.tsx";

export interface LateOptions<Props> {
  /** Shown until it is there. */
  waiting?: ReactNode;
  /** Puts what is said of a failure where the part would stand. */
  frame?: (notice: ReactNode, props: Props) => ReactNode;
}

/** A part of the page that is fetched when it is first wanted, or when `fetch` is called. */
export type LatePart<Props> = ComponentType<Props> & { fetch(): Promise<void> };

/**
 * Makes a part of the page that is fetched late. Without a network, or on a site that was renewed since, it cannot
 * be: that is said in its place, can be tried again, and the rest of the page goes on.
 */
export function late<Props extends object>(
  load: () => Promise<ComponentType<Props>>,
  { waiting = null, frame = (notice) => notice }: LateOptions<Props> = {},
): LatePart<Props> {
  let Part: ComponentType<Props> | undefined;
  let fetching: Promise<void> | undefined;
  const fetch = async () => {
    fetching ??= load().then((loaded) => {
      Part = loaded;
    });
    try {
      await fetching;
    } finally {
      fetching = undefined;
    }
  };
  function Late(props: Props) {
    const [, refresh] = useReducer((count: number) => count + 1, 0);
    const [failed, setFailed] = useState(false);
    const Shown = Part;
    const wanted = !Shown && !failed;
    // Before it is painted: who waits for it waits from now on.
    useLayoutEffect(() => {
      if (!wanted) return;
      let gone = false;
      fetch().then(
        () => !gone && refresh(),
        () => !gone && setFailed(true),
      );
      return () => {
        gone = true;
      };
    }, [wanted]);
    if (Shown) return <Shown {...props} />;
    if (!failed) return waiting;
    const notice = (
      <Notice
        tone="danger"
        title="This part of the page could not be fetched"
        actions={<Button onPress={() => setFailed(false)}>Try again</Button>}
      >
        You may be offline, or the site was renewed since the page was opened; then reload the page. A machine
        that is on goes on: suspend it before you do.
      </Notice>
    );
    return frame(notice, props);
  }
  return Object.assign(Late, { fetch });
}
