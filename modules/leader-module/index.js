// Leader detection for a service whose members answer over HTTP which of them leads: Consul, Vault,
// Flink and their kind. It polls the tasks, shows a Leader column, refuses restarts while nobody
// leads, and refuses to restart the leader while another member is being replaced: it goes last.
//
// Variables (set them for Gantry; `MODULE_FETCH_ALLOW` must contain `tasks`):
//
//   MODULE_LEADER_TYPES   task types to look at, with commas between. Without it the module rests.
//   MODULE_LEADER_PATH    what to ask each task. Default `/v1/status/leader` (Consul).
//   MODULE_LEADER_PORT    index of the task's port to ask on. Default 0.
//   MODULE_LEADER_STATUS  status that the leader answers. Default 200.
//   MODULE_LEADER_MATCH   how the body says that the task itself leads: `address` when it names the
//                         task's address (Consul, Flink), or a regular expression (Vault needs none:
//                         `/v1/sys/health` answers 200 only on the leader: say `.*`). Default `address`.
//   MODULE_LEADER_EVERY   seconds between two rounds. Default 10.
//
// API: GET /api/v1/leader -> {"web": "<task id>" | null, …}

export default (gantry) => {
  const { TYPES = "", PATH = "/v1/status/leader", PORT = "0", STATUS = "200", MATCH = "address", EVERY = "10" } = gantry.env;
  const types = TYPES.split(",").map((type) => type.trim()).filter(Boolean);
  if (types.length === 0) {
    console.warn("MODULE_LEADER_TYPES names no task types: nothing to do");
    return;
  }
  const pattern = MATCH === "address" ? null : new RegExp(MATCH);
  const names = (task, body) =>
    [task.ip, task.host].some((host) => new RegExp(`(^|[^0-9A-Za-z.-])${host.replaceAll(".", "\\.")}([^0-9A-Za-z.-]|$)`).test(body));

  const polled = gantry.poll({
    types,
    path: PATH,
    portIndex: Number(PORT),
    status: [Number(STATUS)],
    every: 1000 * Number(EVERY),
    sets: "leader",
    body: (task, body) => (pattern ? pattern.test(body) : names(task, body)),
    onChange: (task, leads) => {
      if (leads) console.log(`${task.instance} leads now (${task.id})`);
    },
  });

  const leaderOf = (type) => gantry.tasks(type).find((task) => polled.get(task.id) === true) ?? null;
  const nobodyLeads = (type) =>
    gantry.tasks(type).length > 0 && !leaderOf(type)
      ? { refuse: `no leader of ${type} is known: a restart now could leave it without a quorum` }
      : undefined;

  gantry.beforeRestart(({ task, type }) => {
    if (!types.includes(type)) return undefined;
    const leader = leaderOf(type);
    if (leader && leader.id === task && gantry.tasks(type).some((other) => other.restarting)) {
      return { refuse: `${leader.instance} leads ${type}, and another member is being replaced: it goes last` };
    }
    return nobodyLeads(type);
  });
  gantry.beforeRollingRestart(({ type }) => {
    for (const each of type ? types.filter((known) => known === type) : types) {
      const refusal = nobodyLeads(each);
      if (refusal) return refusal;
    }
    return undefined;
  });

  // A member that was restarted is ready once its type has a leader again.
  gantry.restartCheck((task) => (types.includes(task.type) ? polled.get(task.id) !== null && leaderOf(task.type) !== null : undefined));

  gantry.route("GET", "/leader", () => ({
    json: Object.fromEntries(types.map((type) => [type, leaderOf(type)?.id ?? null])),
  }));
};
