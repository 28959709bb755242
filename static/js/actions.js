// What can be done, by name: an element with `data-action` does it when pressed. Listening is done
// once for the whole page, so that elements may come and go.

import { part, raw, rehearse, send } from "./api.js";
import { confirm, quoted, toast } from "./confirm.js";
import { help } from "./help.js";
import { count, plural } from "./format.js";

const frameworkName = () => document.querySelector("meta[name=framework-name]").content;

function tell(error) {
  toast(error.remedy ? `${error.message}. ${error.remedy}` : error.message, true);
  return false;
}

/** Asks, does, tells. `dry` asks beforehand what would change. */
async function act({ dry, done, ...question }) {
  const { method, path, body } = question.request;
  const preview = dry ? rehearse(method, path, body ?? {}) : undefined;
  // Who says no at once does not care what it would have said.
  preview?.catch(() => null);
  const reason = await confirm({ ...question, preview, request: { method, path: `api/v2/${path}`, body } });
  if (reason === null) return false;
  try {
    toast(done(await send(method, path, reason ? { ...body, reason } : (body ?? {}))));
    return true;
  } catch (error) {
    return tell(error);
  }
}

const whose = (workload) => (workload ? `tasks of ${workload}` : "tasks of every workload");

/** What follows from acting on a deployment. */
const CONSEQUENCES = {
  abort: "What has been replaced stays replaced, what is being moved is taken back. What is started from now on runs the new revision.",
  pause: "Nothing more is moved, what is being moved is taken back. What has to be started meanwhile runs the old revision, unless a secret has changed.",
  resume: "It goes on where it was.",
  rollback: "What has been moved is moved back to the old revision, one after the other, within the same limits.",
};

const ACTIONS = {
  less: (element) => step(element, -1),
  more: (element) => step(element, 1),

  async scale(element) {
    const { workload } = element.dataset;
    const wanted = Number(element.dataset.wanted);
    const input = element.closest(".scale").querySelector("input");
    const instances = Number(input.value);
    if (input.value === "" || !Number.isInteger(instances) || instances < 0) return refuse("The number of instances must be a whole number.");
    if (instances === wanted) return refuse(`${workload} already has ${plural(instances, "instance")} wanted.`);
    const done = await act({
      title: `Scale ${workload}`,
      text: `From ${count(wanted)} to ${plural(instances, "instance")}.`,
      action: `Scale to ${count(instances)}`,
      danger: instances < wanted,
      phrase: instances === 0 ? workload : undefined,
      dry: true,
      request: { method: "PUT", path: `workloads/${part(workload)}/scale`, body: { instances } },
      cli: `gantry scale ${quoted(workload)} ${instances}`,
      done: ({ from, to }) => `${workload}: ${count(from)} → ${count(to)} instances wanted`,
    });
    if (!done) return false;
    input.blur();
    element.dataset.wanted = String(instances);
    changed(input);
  },

  restart: ({ dataset: { task, name } }) =>
    act({
      title: `Restart ${name}`,
      text: "A new task is started first; the old one is stopped once the new one is ready.",
      action: "Restart",
      dry: true,
      request: { method: "POST", path: `tasks/${part(task)}/restart` },
      cli: `gantry restart --task ${quoted(task)}`,
      done: () => `${name} is being restarted`,
    }),

  rolling: ({ dataset: { workload } }) =>
    act({
      title: workload ? `Rolling restart of ${workload}` : "Rolling restart",
      text: `All ${whose(workload)} are replaced, one after the other. It can be paused and aborted on the page Activity.`,
      action: "Restart all, one by one",
      phrase: workload || "restart all",
      dry: true,
      request: { method: "POST", path: "rolling-restarts", body: workload ? { workload } : {} },
      cli: workload ? `gantry restart ${quoted(workload)}` : "gantry restart --all",
      done: ({ deployment }) => `Deployment ${deployment} has begun`,
    }),

  kill: ({ dataset: { workload } }) =>
    act({
      title: workload ? `Kill all tasks of ${workload}` : "Kill all tasks",
      text: `All ${whose(workload)} are stopped at once and then started again. The service is down meanwhile, and data that only the tasks hold is lost.`,
      action: "Kill them",
      danger: true,
      phrase: workload || "kill all",
      dry: true,
      request: { method: "POST", path: "kill", body: workload ? { workload } : {} },
      done: ({ tasks }) => `${plural(tasks, "task")} ${tasks === 1 ? "is" : "are"} being stopped`,
    }),

  deployment: ({ dataset: { id, verb }, textContent }) =>
    act({
      title: `${textContent} deployment ${id}`,
      text: CONSEQUENCES[verb] ?? "",
      action: textContent,
      danger: verb === "abort",
      request: { method: "POST", path: `deployments/${id}/${verb}` },
      cli: `gantry deploy ${verb} ${id}`,
      done: ({ status }) => `Deployment ${id} is ${status.replace("_", " ")}`,
    }),

  brake: () =>
    act({
      title: "Release the brake",
      text: "Failed tasks are started again, and updates go on. Do it when the cause of the failures is known and gone.",
      action: "Release",
      request: { method: "POST", path: "brake/release" },
      cli: "gantry brake release",
      done: () => "The brake is released",
    }),

  async "framework-restart"() {
    const name = frameworkName();
    const reason = await confirm({
      title: "Restart the framework",
      text: "Gantry itself ends, and whoever watches it (Marathon, systemd) starts it again. Tasks keep running meanwhile; this page reconnects by itself.",
      action: "Restart the framework",
      danger: true,
      phrase: name,
    });
    if (reason === null) return false;
    try {
      await raw("api/v1/framework/restart", { sure: "yes", reason }, "POST");
      toast("Gantry restarts");
      return true;
    } catch (error) {
      return tell(error);
    }
  },

  "end-sessions": async ({ dataset: { whose: all } }) => {
    const done = await act({
      title: all === "all" ? "Log everybody out" : "Log out everywhere",
      text: all === "all" ? "Every session of everybody ends, also this one." : "Every session of yours ends, in every browser, also this one.",
      action: "Log out",
      danger: true,
      phrase: all === "all" ? "everybody" : undefined,
      request: { method: "POST", path: "sessions/end", body: { whose: all } },
      done: () => "Sessions are ended",
    });
    if (done) location.assign("login/");
    return done;
  },

  async copy(element) {
    const text = element.dataset.from ? document.getElementById(element.dataset.from).textContent : element.dataset.text;
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied");
    } catch {
      toast("The browser does not allow copying here.", true);
    }
    return false;
  },

  help() {
    help();
    return false;
  },
};

/** Adds what other parts of the page can do. An action that answers false needs no refresh. */
export const provide = (actions) => Object.assign(ACTIONS, actions);

function refuse(text) {
  toast(text, true);
  return false;
}

function step(element, by) {
  const input = element.closest(".scale").querySelector("input");
  input.value = String(Math.max(0, (Number.parseInt(input.value, 10) || 0) + by));
  changed(input);
  return false;
}

/** Shows by how much what is written differs from what is wanted. */
function changed(input) {
  const place = input.closest(".scale");
  const button = place.querySelector("[data-action=scale]");
  const by = Number(input.value) - Number(button.dataset.wanted);
  const sign = by > 0 ? `+${count(by)}` : by < 0 ? `−${count(-by)}` : "";
  place.dataset.changed = sign ? (by > 0 ? "up" : "down") : "";
  place.querySelector(".by").textContent = sign;
}

/** Begins to listen; `afterwards` is called when something was done. */
export function listen(afterwards) {
  document.addEventListener("click", async (event) => {
    const element = event.target.closest("[data-action]");
    if (!element || element.disabled) return;
    event.preventDefault();
    if ((await ACTIONS[element.dataset.action]?.(element)) !== false) afterwards();
  });
  document.addEventListener("input", ({ target }) => target.matches?.(".scale input") && changed(target));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches?.(".scale input")) return;
    event.preventDefault();
    event.target.closest(".scale").querySelector("[data-action=scale]").click();
  });
}
