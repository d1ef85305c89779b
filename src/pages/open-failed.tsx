import { useEffect, useState } from "react";
import type { ByreError, ByreErrorCode } from "../../disk/index.ts";
import { Button } from "../components/button.tsx";
import { Buttons } from "../components/buttons.tsx";
import { Notice } from "../components/notice.tsx";
import { goTo } from "../components/page-location.ts";
import { library } from "../library/library.ts";
import type { MachineRecord } from "../library/machine-record.ts";
import type { OpenRequest } from "../open/open-machine.ts";
import { opener } from "../open/opener.ts";
import { rescueStoredOverlay, resetMachine } from "./machine-actions.ts";
import { PageFrame } from "./page-frame.tsx";
import { useRequestTitle } from "./request-title.ts";
import { usePageTitle } from "./use-page-title.ts";

/** Errors that may be gone by the next try, without anything being changed here. */
const PASSING: readonly ByreErrorCode[] = [
  "NETWORK",
  "HTTP_STATUS",
  "NOT_FOUND",
  "IN_USE",
  "STORAGE",
  "QUOTA_EXCEEDED",
  "RANGE_NOT_SUPPORTED",
  "BACKING_MISSING",
  "CANCELLED",
];

/** Errors of a saved state, behind which there is a disk that can be booted. */
const STATE_ERRORS: readonly ByreErrorCode[] = ["STATE_INVALID", "STATE_MISMATCH", "UNSUPPORTED_VERSION"];

export interface OpenFailedProps {
  request: OpenRequest | undefined;
  error: ByreError;
}

/** Why a machine could not be opened, and what can be done about it. */
export function OpenFailed({ request, error }: OpenFailedProps) {
  const title = useRequestTitle(request);
  usePageTitle(`${title} - Byre`);
  const kept = useKeptMachine(request);
  const bootable = request && !request.diskOnly && STATE_ERRORS.includes(error.code);
  const retry = request && request.kind !== "files" && PASSING.includes(error.code);
  return (
    <PageFrame title={`Could not start ${title}`}>
      <Notice tone="danger" code={whereOf(error)}>
        <p>{error.message}</p>
      </Notice>
      {kept && error.code === "FILE_CHANGED" && <BaseChanged record={kept} request={request} />}
      {bootable && (
        <p>Its disk can be booted as it was at that moment. The programs that ran then are not running.</p>
      )}
      <Buttons>
        {bootable && (
          <Button look="primary" onPress={() => opener.open({ ...request, diskOnly: true }).catch(() => {})}>
            Boot its disk instead
          </Button>
        )}
        {retry && (
          <Button look="primary" onPress={() => opener.open(request).catch(() => {})}>
            Try again
          </Button>
        )}
        <Button onPress={() => goTo("/")}>All machines</Button>
      </Buttons>
    </PageFrame>
  );
}

/** The base is not what the machine was made on: nothing is mixed, the person chooses. */
function BaseChanged({ record, request }: { record: MachineRecord; request: OpenRequest | undefined }) {
  const [sure, setSure] = useState(false);
  const [failed, setFailed] = useState<string>();
  const show = (cause: unknown) => setFailed(cause instanceof Error ? cause.message : String(cause));
  const reset = () => {
    resetMachine(record.id)
      .then(() => request && opener.open(request))
      .catch(show);
  };
  return (
    <>
      <p>
        {record.name} keeps only what differs from {record.base.name} as it was. Over another file those
        differences would be nonsense, so they are left alone.
      </p>
      {sure ? (
        <Notice
          tone="caution"
          title={`Reset ${record.name}?`}
          actions={
            <>
              <Button look="danger" onPress={reset}>
                Reset
              </Button>
              <Button onPress={() => setSure(false)}>Keep</Button>
            </>
          }
        >
          <p>Everything written on it is gone then; it starts on the new {record.base.name}.</p>
        </Notice>
      ) : (
        <Buttons>
          <Button onPress={() => rescueStoredOverlay(record).catch(show)}>Export overlay</Button>
          <Button look="danger" onPress={() => setSure(true)}>
            Reset to the new base
          </Button>
        </Buttons>
      )}
      {failed && <Notice tone="danger">{failed}</Notice>}
    </>
  );
}

/** The machine that a request would have opened, if this browser keeps it. */
function useKeptMachine(request: OpenRequest | undefined): MachineRecord | undefined {
  const [record, setRecord] = useState<MachineRecord>();
  useEffect(() => {
    setRecord(undefined);
    if (!request || request.kind === "files") return;
    const finding =
      request.kind === "machine"
        ? library.get(request.id)
        : import("../open/open-machine.ts").then(({ machineFrom }) => machineFrom(request.image));
    finding.then(setRecord, () => {});
  }, [request]);
  return record;
}

/** Code and place, for a report: `TRUNCATED at 196608`. */
function whereOf({ code, data }: ByreError): string {
  const { offsetBytes } = data;
  return typeof offsetBytes === "number" ? `${code} at ${offsetBytes}` : code;
}
