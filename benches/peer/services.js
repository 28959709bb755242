// Keeps N tasks running with the original library: node services.js HOST PORT N FOLDER
"use strict";

const { Scheduler, Mesos } = require("mesos-framework");
const [host, port, instances, folder] = process.argv.slice(2);
const mesos = Mesos.getMesos(); // exported as an instance

const scheduler = new Scheduler({
    masterUrl: host,
    port: Number(port),
    useZk: false,
    logging: { path: folder + "/", fileName: "peer.log", level: "info" },
    frameworkName: "peer",
    restartStates: ["TASK_FAILED", "TASK_LOST", "TASK_ERROR", "TASK_FINISHED", "TASK_KILLED"],
    tasks: {
        web: {
            priority: 1,
            instances: Number(instances),
            commandInfo: new mesos.CommandInfo(null, new mesos.Environment([]), true, "sleep 100000", null, null),
            resources: { cpus: 0.1, mem: 32, ports: 0, disk: 0 },
        },
    },
    handlers: {},
});

scheduler.on("ready", () => scheduler.subscribe());
scheduler.on("error", (error) => console.error(error));
