import { useEffect, useState } from "react";
import { type ImageStates, imageStates } from "./image-states.ts";
import { ShareForm } from "./share-form.tsx";
import type { ShareSource } from "./share-source.ts";

/** A link to an image that is on a server already. */
export function ShareImage({ image, name }: { image: ShareSource; name: string }) {
  const states = useImageStates(image.url);
  const state = image.snapshot === undefined ? undefined : states?.find(image.snapshot);
  // What the image says by itself need not be said again.
  const started = state && state !== states?.own ? state.inLink : "";
  return <ShareForm key={started} image={image} name={name} states={states?.all} startFrom={started} />;
}

/** Undefined until they are known, and where they cannot be: a link needs none. */
function useImageStates(url: string): ImageStates | undefined {
  const [states, setStates] = useState<ImageStates>();
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
