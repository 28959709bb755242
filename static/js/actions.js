// What can be done, by name: an element with `data-action` does it when pressed. Listening is done
// once for the whole page, so that elements may come and go.

import { part, send } from "./api.js";
import { confirm, toast } from "./confirm.js";
import { count, plural } from "./format.js";

const withReason = (body, reason) => (reason ? { ...body, reason } : body);

async function act(question, method, path, body, done) {
  const reason = await confirm(question);
  if (reason === null) return false;
  try {
    toast(done(await send(method, path, withReason(body, reason))));
    return true;
  } catch (error) {
    toast(error.remedy ? `${error.message}. ${error.remedy}` : error.message, true);
    return false;
  }
}

const whose = (workload) => (workload ? `tasks of ${workload}` : "tasks of every workload");

/** What follows from acting on a deployment. */
const CONSEQUENCES = {
  abort: "What has been replaced stays replaced. What is started from now on runs the new revision.",
  pause: "Nothing more is moved. What has to be started meanwhile runs the old revision.",
  rollback: "What has been moved is moved back to the old revision, one after the other, within the same limits.",
};

const ACTIONS = {
  less: (element) => step(element, -1),
  more: (element) => step(element, 1),

  async scale(element) {
    const { workload, wanted } = element.dataset;
    const input = element.closest(".scale").querySelector("input");
    const instances = Number(input.value);
    if (!Number.isInteger(instances) || instances < 0) return toast("The number of instances must be a whole number.", true);
    if (instances === Number(wanted)) return toast(`${workload} already has ${plural(instances, "instance")} wanted.`);
    const down = instances < Number(wanted);
    const done = await act(
      {
        title: `Scale ${workload}`,
        text: `From ${count(Number(wanted))} to ${plural(instances, "instance")}.` + (down ? ` ${plural(Number(wanted) - instances, "task")} will be stopped.` : ""),
        action: `Scale to ${count(instances)}`,
        danger: down,
        phrase: instances === 0 ? workload : undefined,
      },
      "PUT",
      `workloads/${part(workload)}/scale`,
      { instances },
      ({ from, to }) => `${workload}: ${count(from)} → ${count(to)} instances wanted`,
    );
    if (done) input.blur();
    if (done) element.dataset.wanted = String(instances);
  },

  restart: ({ dataset: { task, name } }) =>
    act(
      { title: `Restart ${name}`, text: "A new task is started first; the old one is stopped once the new one is ready.", action: "Restart" },
      "POST",
      `tasks/${part(task)}/restart`,
      {},
      () => `${name} is being restarted`,
    ),

  rolling: ({ dataset: { workload } }) =>
    act(
      {
        title: "Rolling restart",
        text: `All ${whose(workload)} are replaced, one after the other. It can be paused and aborted on the page Activity.`,
        action: "Restart all, one by one",
        phrase: workload || "restart all",
      },
      "POST",
      "rolling-restarts",
      workload ? { workload } : {},
      ({ deployment }) => `Deployment ${deployment} has begun`,
    ),

  kill: ({ dataset: { workload } }) =>
    act(
      {
        title: workload ? `Kill all tasks of ${workload}` : "Kill all tasks",
        text: `All ${whose(workload)} are stopped at once and then started again. The service is down meanwhile, and data that only the tasks hold is lost.`,
        action: "Kill them",
        danger: true,
        phrase: workload || "kill all",
      },
      "POST",
      "kill",
      workload ? { workload } : {},
      ({ tasks }) => `${plural(tasks, "task")} ${tasks === 1 ? "is" : "are"} being stopped`,
    ),

  deployment: ({ dataset: { id, verb }, textContent }) =>
    act(
      { title: `${textContent} deployment ${id}`, text: CONSEQUENCES[verb] ?? "", action: textContent },
      "POST",
      `deployments/${id}/${verb}`,
      {},
      ({ status }) => `Deployment ${id} is ${status.replace("_", " ")}`,
    ),

  brake: () =>
    act(
      { title: "Release the brake", text: "Failed tasks are started again, and updates go on. Do it when the cause of the failures is known and gone.", action: "Release" },
      "POST",
      "brake/release",
      {},
      () => "The brake is released",
    ),

  async copy(element) {
    try {
      await navigator.clipboard.writeText(element.dataset.text);
      toast("Copied");
    } catch {
      toast("The browser does not allow copying here.", true);
    }
  },
};

function step(element, by) {
  const input = element.closest(".scale").querySelector("input");
  input.value = String(Math.max(0, (Number.parseInt(input.value, 10) || 0) + by));
}

/** Begins to listen; `afterwards` is called when something was done. */
export function listen(afterwards) {
  document.addEventListener("click", async (event) => {
    const element = event.target.closest("[data-action]");
    if (!element || element.disabled) return;
    event.preventDefault();
    if ((await ACTIONS[element.dataset.action]?.(element)) !== false) afterwards();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches?.(".scale input")) return;
    event.preventDefault();
    event.target.closest(".scale").querySelector("[data-action=scale]").click();
  });
}
