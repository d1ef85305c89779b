import { connect } from "./byre-frame.js";

const asked = new URLSearchParams(location.search);
const byre = new URL(asked.get("byre") ?? "http://127.0.0.1:5173/");
const image = asked.get("image") ?? "appliances/linux.qcow2";

const $ = (id) => document.getElementById(id);
const frame = $("machine");
// Only pages of this site may drive the machine; the person is told so before it starts.
const link = new URLSearchParams({ image, embed: "1", origin: location.origin });
frame.src = `${byre.href}#/run?${link}`;
const machine = connect(frame);

const showState = ({ state, error }) => {
  $("state").textContent = error ? `${state}: ${error.message}` : state;
};
machine.on("state", showState);
machine.on("serial", (text) => $("output").append(text));
const first = await machine.call("subscribe", ["state", "serial"]);
showState(first);
$("output").append(first.serial);

const press = (id, work) => {
  $(id).onclick = () =>
    work().catch((error) => {
      $("state").textContent = `${error.code}: ${error.message}`;
    });
};
press("pause", () => machine.call("pause"));
press("resume", () => machine.call("resume"));
press("send", () => machine.call("serial.send", `${$("line").value}\n`));
