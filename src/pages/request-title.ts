import { useEffect, useState } from "react";
import { library } from "../library/library.ts";
import { fileNameOf } from "../open/file-names.ts";
import type { OpenRequest } from "../open/open-machine.ts";

/** What to call that which is being opened, as far as it is known yet. */
export function useRequestTitle(request: OpenRequest | undefined): string {
  const [name, setName] = useState<string>();
  const id = request?.kind === "machine" ? request.id : undefined;
  useEffect(() => {
    if (id === undefined) return setName(undefined);
    library.get(id).then(
      (record) => setName(record?.name),
      () => {},
    );
  }, [id]);
  switch (request?.kind) {
    case undefined:
      return "this link";
    case "machine":
      return name ?? "the machine";
    case "image":
      return fileNameOf(request.image.url);
    case "files":
      return request.files.map((file) => file.name).join(", ");
  }
}
