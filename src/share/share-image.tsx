import { useEffect, useState } from "react";
import { imageStates } from "./image-states.ts";
import { ShareForm } from "./share-form.tsx";
import type { ShareSource } from "./share-source.ts";

/** A link to an image that is on a server already. */
export function ShareImage({ image, name }: { image: ShareSource; name: string }) {
  return <ShareForm image={image} name={name} states={useImageStates(image.url)} />;
}

/** Undefined until they are known, and where they cannot be: a link needs none. */
function useImageStates(url: string): readonly string[] | undefined {
  const [states, setStates] = useState<readonly string[]>();
  useEffect(() => {
    const abort = new AbortController();
    imageStates(url, abort.signal).then(setStates, () => {});
    return () => {
      abort.abort();
      setStates(undefined);
    };
  }, [url]);
  return states;
}
