import { Download, SearchCheck } from "lucide-react";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { toByreError } from "../../disk/index.ts";
import { Button } from "../components/button.tsx";
import { Choice } from "../components/choice.tsx";
import { formatBytes } from "../components/format.ts";
import { Notice } from "../components/notice.tsx";
import { TextField } from "../components/text-field.tsx";
import { library } from "../library/library.ts";
import type { ExportedFile } from "../library/machine-record.ts";
import type { MachineSession } from "../open/machine-session.ts";
import { isBusy } from "../pages/export-form.tsx";
import { useFocusKept } from "../pages/use-focus-kept.ts";
import { useSession } from "../pages/use-session.ts";
import { checkHost, type HostCheck } from "./check-host.ts";
import { HostFindings } from "./host-findings.tsx";
import { makeSharedFile } from "./make-shared-file.ts";
import styles from "./share-form.module.css";
import { ShareForm } from "./share-form.tsx";
import { ShareImage } from "./share-image.tsx";

export interface ShareOwnFileProps {
  session: MachineSession;
  state: MachineSession["state"];
}

/** From a machine in this browser to a link: a file, a server, and a look at whether the server does. */
export function ShareOwnFile({ session, state }: ShareOwnFileProps) {
  useSession(session);
  const [file, setFile] = useState<ExportedFile>();
  const [hasSecondDisk, setHasSecondDisk] = useState(false);
  useEffect(() => {
    if (session.id !== undefined)
      library.get(session.id).then(
        (record) => {
          setFile((made) => made ?? record?.shared);
          setHasSecondDisk(record?.drives?.hdb !== undefined);
        },
        // It is a convenience: without it the file is not compared.
        () => {},
      );
  }, [session.id]);
  return (
    <ol className={styles.steps}>
      <li>
        <h3 className={styles.step}>Make the file</h3>
        {hasSecondDisk && <Notice tone="caution">The machine's second disk is not in the file.</Notice>}
        <MakeFile session={session} state={state} file={file} onMade={setFile} />
      </li>
      <li>
        <h3 className={styles.step}>Put it on a web server</h3>
        <p>
          Any that serves files does: one for web pages, or a storage service with public files. It has to let
          other pages read the file, with these headers:
        </p>
        <pre className={styles.headers}>
          {"Access-Control-Allow-Origin: *\nAccess-Control-Expose-Headers: Content-Range, ETag"}
        </pre>
        <p className={styles.note}>
          To try it on this computer: <code>npx byre serve FOLDER</code>
        </p>
      </li>
      <li>
        <h3 className={styles.step}>Check its address</h3>
        <CheckAddress name={session.name} file={file} />
      </li>
    </ol>
  );
}

interface MakeFileProps extends ShareOwnFileProps {
  file: ExportedFile | undefined;
  onMade: (file: ExportedFile) => void;
}

function MakeFile({ session, state, file, onMade }: MakeFileProps) {
  const [packed, setPacked] = useState(true);
  const [snapshots, setSnapshots] = useState(true);
  const [failure, setFailure] = useState<{ readonly message: string; readonly code: string }>();
  const hasSnapshots = session.snapshots().length > 0;
  const button = useRef<HTMLButtonElement>(null);
  const [making, setMaking] = useState(false);
  useFocusKept(making, button);
  const make = async () => {
    setFailure(undefined);
    setMaking(true);
    try {
      const made = await makeSharedFile(session, { ...(packed && { compress: true }), snapshots });
      if (made) onMade(made);
    } catch (cause) {
      const { code, message } = toByreError(cause);
      if (code !== "CANCELLED") setFailure({ code, message });
    }
    setMaking(false);
  };
  return (
    <div className={styles.form}>
      <Choice
        type="checkbox"
        words="Make it small"
        hint="Packs the file. That takes longer."
        isChecked={packed}
        onChange={() => setPacked(!packed)}
      />
      {hasSnapshots ? (
        <Choice
          type="checkbox"
          words="With its snapshots"
          hint="A link can start the machine from one of them."
          isChecked={snapshots}
          onChange={() => setSnapshots(!snapshots)}
        />
      ) : (
        <p className={styles.note}>
          For others to begin where the machine is now, save a snapshot first. Else it boots.
        </p>
      )}
      {state === "running" && (
        <p className={styles.note}>The machine stands still until the file is written.</p>
      )}
      <div>
        <Button ref={button} isDisabled={state === "starting" || isBusy(session)} onPress={make}>
          <Download size={16} aria-hidden="true" />
          Make the file
        </Button>
      </div>
      {file && (
        <p role="status">
          {file.fileName} is written, {formatBytes(file.sizeBytes)}.
        </p>
      )}
      {failure && (
        <Notice tone="danger" code={failure.code}>
          {failure.message}
        </Notice>
      )}
    </div>
  );
}

function CheckAddress({ name, file }: { name: string; file: ExportedFile | undefined }) {
  const [address, setAddress] = useState("");
  const [checking, setChecking] = useState<AbortController>();
  const [checked, setChecked] = useState<{ readonly url: string; readonly check: HostCheck }>();
  const under = useRef<AbortController>(undefined);
  useEffect(() => () => under.current?.abort(), []);
  const check = async (event: FormEvent) => {
    event.preventDefault();
    if (checking) return;
    const abort = new AbortController();
    under.current = abort;
    setChecking(abort);
    setChecked(undefined);
    const url = address.trim();
    try {
      const options = { expected: file, page: document.baseURI, signal: abort.signal };
      setChecked({ url, check: await checkHost(url, options) });
    } catch {
      // It was called off, and nobody is there to be told.
    } finally {
      setChecking(undefined);
    }
  };
  const image = checked?.check.works
    ? { url: new URL(checked.url).href, drives: {}, snapshot: undefined }
    : undefined;
  return (
    <div className={styles.form}>
      <form className={styles.form} onSubmit={check}>
        <TextField
          label="Address of the file"
          value={address}
          maxLength={2000}
          hint="It begins with https:// and leads to the file itself."
          onChange={(next) => {
            setAddress(next);
            // What was found is of another address.
            setChecked(undefined);
          }}
        />
        <div>
          <Button type="submit" look="primary" isDisabled={address.trim() === "" || checking !== undefined}>
            <SearchCheck size={16} aria-hidden="true" />
            {checking ? "Checking" : "Check and make the link"}
          </Button>
        </div>
      </form>
      <div role="status">{checked && <HostFindings check={checked.check} />}</div>
      {image &&
        (file ? (
          <ShareForm
            image={image}
            name={name}
            states={file.states.map((state) => ({ name: state, inLink: state }))}
          />
        ) : (
          <ShareImage image={image} name={name} />
        ))}
    </div>
  );
}
