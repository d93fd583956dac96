"""What runs beside kubesim's API: the scheduler of its one node, quotas, and the Job controller.

After the documents of upstream: https://kubernetes.io/docs/concepts/workloads/controllers/job/ (Indexed Jobs, backoff
limits, pod failure policies, TTL), /docs/concepts/policy/resource-quotas/, /docs/concepts/scheduling-eviction/.
"""

import asyncio
import copy
import datetime
import re

ALLOCATABLE = {"cpu": "8", "memory": "20Gi", "pods": "250", "ephemeral-storage": "50Gi"}
NODE_LABELS = {"kubernetes.io/hostname": "kubesim", "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
INDEX = "batch.kubernetes.io/job-completion-index"
JOB_NAME = "batch.kubernetes.io/job-name"


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def quantity(text):
    """A Kubernetes quantity as a number."""
    m = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(text))
    return float(m[1]) * UNITS[m[2]]


def ended(pod):
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def asked(pod, kind="requests"):
    """What the containers of a pod ask for (or are limited to), summed. A limit is also a request."""
    total = {}
    for c in pod["spec"]["containers"]:
        r = c.get("resources") or {}
        values = dict(r.get("limits") or {})
        if kind == "requests":
            values.update(r.get("requests") or {})
        for k, v in values.items():
            total[k] = total.get(k, 0) + quantity(v)
    return total


def intervals(indexes):
    """0,1,2,5 -> "0-2,5"."""
    out, run = [], []
    for i in [*sorted(indexes), None]:
        if run and i == run[-1] + 1 if i is not None else False:
            run.append(i)
            continue
        if run:
            out.append(str(run[0]) if len(run) == 1 else f"{run[0]}{'-' if len(run) > 2 else ','}{run[-1]}")
        run = [i]
    return ",".join(out)


class Scheduler:
    """Binds pods to the one node while there is room; a pod that does not fit says why."""

    def __init__(self, server):
        self.server, self.wake = server, asyncio.Event()

    def problem(self, pod):
        """Why the pod cannot run now, as kube-scheduler says it, or None."""
        spec = pod["spec"]
        for k, v in (spec.get("nodeSelector") or {}).items():
            if NODE_LABELS.get(k) != v:
                return "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        used = {"pods": 0}
        for k, o in self.server.st.objs.items():
            if k[1] == "pods" and o["spec"].get("nodeName") and not ended(o):
                used["pods"] += 1
                for r, v in asked(o).items():
                    used[r] = used.get(r, 0) + v
        short = [
            "Too many pods" if r == "pods" else f"Insufficient {r}"
            for r, v in {**asked(pod), "pods": 1}.items()
            if used.get(r, 0) + v > quantity(ALLOCATABLE.get(r, 0))
        ]
        return f"0/1 nodes are available: {', '.join('1 ' + s for s in short)}." if short else None

    async def place(self, key):
        """Wait until the pod has room; False if it was deleted meanwhile."""
        while True:
            pod = self.server.st.objs.get(key)
            if pod is None or pod["metadata"].get("deletionTimestamp"):
                return False
            why = self.problem(pod)
            if why is None:
                pod["spec"]["nodeName"] = "kubesim"
                return True
            cond = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
            old = pod["status"].get("conditions") or []
            if not old or old[0].get("message") != why:
                pod["status"].update(phase="Pending", conditions=[{**cond, "lastTransitionTime": now()}])
                self.server.st.put(key, pod, "MODIFIED")
                self.server.event(pod, "Warning", "FailedScheduling", why)
            try:
                await asyncio.wait_for(self.wake.wait(), 1)
            except asyncio.TimeoutError:
                pass
            self.wake.clear()


def over_quota(st, ns, res, o):
    """The message of the quota that forbids the object, or None."""
    for key, quota in st.objs.items():
        if key[1] != "resourcequotas" or key[2] != ns:
            continue
        hard = (quota.get("spec") or {}).get("hard") or {}
        wants = {f"count/{res}.batch" if res == "jobs" else f"count/{res}": 1}
        have = [v for k, v in st.objs.items() if k[1] == res and k[2] == ns and k[3] != o["metadata"].get("name")]
        used = {name: len(have) for name in wants}
        if res == "pods":
            have = [p for p in have if not ended(p)]

            def measure(p):
                m = {"pods": 1}
                for k, v in asked(p).items():
                    m[f"requests.{k}"] = m[k] = v
                for k, v in asked(p, "limits").items():
                    m[f"limits.{k}"] = v
                return m

            wants.update(measure(o))
            missing = [
                h for h in hard if h not in wants and re.match(r"(requests|limits)\.(cpu|memory)$|cpu$|memory$", h)
            ]
            if missing:
                first = o["spec"]["containers"][0]["name"]
                return f"failed quota: {key[3]}: must specify {','.join(missing)} for: {first}"
            for p in have:
                for k, v in measure(p).items():
                    used[k] = used.get(k, 0) + v
        bad = [h for h in hard if h in wants and used.get(h, 0) + wants[h] > quantity(hard[h])]
        if bad:
            columns = ({h: _short(wants[h]) for h in bad}, {h: _short(used.get(h, 0)) for h in bad}, hard)
            parts = [",".join(f"{h}={column[h]}" for h in bad) for column in columns]
            return f"exceeded quota: {key[3]}, requested: {parts[0]}, used: {parts[1]}, limited: {parts[2]}"
    return None


def _short(value):
    for unit in ("Gi", "Mi", "Ki"):
        if value >= UNITS[unit] and value % UNITS[unit] == 0:
            return f"{int(value // UNITS[unit])}{unit}"
    return f"{value:g}" if value >= 1 or value == 0 else f"{round(value * 1000)}m"


def check_job(o):
    """What upstream refuses of a Job beyond its schema: a list of messages."""
    spec, bad = o["spec"], []
    policy = spec["template"].get("spec", {}).get("restartPolicy")
    if policy not in ("Never", "OnFailure"):
        bad.append(
            f'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never" (not {policy!r})'
        )
    if spec.get("podFailurePolicy") and policy != "Never":
        bad.append('spec.template.spec.restartPolicy: only "Never" is supported when podFailurePolicy is specified')
    indexed = spec.get("completionMode") == "Indexed"
    if indexed and spec.get("completions") is None:
        bad.append("spec.completions: Required value: when completion mode is Indexed")
    if indexed and len(o["metadata"]["name"]) + 1 + len(str((spec.get("completions") or 1) - 1)) > 63:
        bad.append(
            "metadata.name: Invalid value: will not be able to create pod with this name: must be no more than 63"
        )
    for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if spec.get(name) is not None and not indexed:
            bad.append(f"spec.{name}: Invalid value: when set, requires indexed completion mode")
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        bad.append("spec.maxFailedIndexes: when set, backoffLimitPerIndex must be set as well")
    return bad


class JobController:
    """The life of one Job: pods, one per index (or per completion), until it is complete or has failed."""

    def __init__(self, server, key, backoff_s):
        self.server, self.st, self.key, self.backoff_s = server, server.st, key, backoff_s
        self.done, self.bad, self.seen = set(), set(), set()
        self.fails, self.failed, self.succeeded = {}, 0, 0
        self.not_before, self.refusals, self.refused_until = {}, 0, 0.0
        self.started = None

    @property
    def job(self):
        return self.st.objs.get(self.key)

    def pods(self):
        uid = self.job["metadata"]["uid"]
        return {
            k: p
            for k, p in self.st.objs.items()
            if k[1] == "pods"
            and k[2] == self.key[2]
            and any(r.get("uid") == uid for r in p["metadata"].get("ownerReferences", []))
        }

    async def run(self):
        wake = self.server.changes(self.key)
        try:
            while self.job and not self.job["metadata"].get("deletionTimestamp"):
                end = self.step()
                if end:
                    await self.finish(*end)
                    return
                try:
                    await asyncio.wait_for(wake.wait(), 0.5)
                except asyncio.TimeoutError:
                    pass
                wake.clear()
                await asyncio.sleep(0.05)  # one step for several changes
        finally:
            self.server.no_changes(self.key)

    # --- one look at the pods

    def step(self):
        """Count, create, and say (condition, reason, message) when the Job has come to its end."""
        spec, t = self.job["spec"], asyncio.get_running_loop().time()
        self.indexed = spec.get("completionMode") == "Indexed"
        pods = self.pods()
        if spec.get("suspend"):
            for k in [k for k, p in pods.items() if not ended(p)]:
                self.server.delete(k, {})
            self.write(pods)
            return None
        self.started = self.started or t
        for k, p in pods.items():
            if p["metadata"]["uid"] in self.seen or not (ended(p) or p["metadata"].get("deletionTimestamp")):
                continue
            if not ended(p) and spec.get("podReplacementPolicy", "") == "Failed":
                continue
            self.seen.add(p["metadata"]["uid"])
            index = self.index(p)
            if p["status"].get("phase") == "Succeeded":
                self.succeeded += 1
                self.done.add(index)
                continue
            verdict = self.policy(p)
            if verdict == "FailJob":
                return (
                    "Failed",
                    "PodFailurePolicy",
                    f"Container main for pod {k[2]}/{k[3]} failed matching a FailJob rule",
                )
            if verdict == "Ignore":
                continue
            self.failed += 1
            self.fails[index] = self.fails.get(index, 0) + 1
            self.not_before[index] = t + min(360, self.backoff_s * 2 ** (self.fails[index] - 1))
            if verdict == "FailIndex" or self.fails[index] > spec.get("backoffLimitPerIndex", 2**31):
                self.bad.add(index)
        self.write(pods)
        return self.verdict(spec, pods, t) or self.create(spec, pods, t)

    def verdict(self, spec, pods, t):
        if spec.get("activeDeadlineSeconds") and t - self.started > spec["activeDeadlineSeconds"]:
            return ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        limit = spec.get("backoffLimit", 2**31 - 1 if "backoffLimitPerIndex" in spec else 6)
        if "backoffLimitPerIndex" not in spec and self.failed > limit:
            return ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        if len(self.bad) > spec.get("maxFailedIndexes", 2**31):
            return (
                "Failed",
                "MaxFailedIndexesExceeded",
                "Job has exceeded the specified maximal number of failed indexes",
            )
        wanted = spec.get("completions", 1)
        if self.indexed and len(self.done | self.bad) >= wanted:
            if self.bad:
                return ("Failed", "FailedIndexes", "Job has failed indexes")
            return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        if not self.indexed and self.succeeded >= wanted:
            return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        return None

    def create(self, spec, pods, t):
        active = {k: p for k, p in pods.items() if not ended(p) and p["metadata"]["uid"] not in self.seen}
        room = spec.get("parallelism", 1) - len(active)
        if t < self.refused_until:
            return None
        if self.indexed:
            busy = {self.index(p) for p in active.values()}
            todo = [
                i
                for i in range(spec["completions"])
                if i not in self.done | self.bad | busy and self.not_before.get(i, 0) <= t
            ]
        else:
            left = spec.get("completions", 1) - self.succeeded - len(active)
            todo = [None] * left if self.not_before.get(None, 0) <= t else []
        for index in todo[: max(0, room)]:
            try:
                self.begin(index)
                self.refusals = 0
            except Exception as e:
                if not hasattr(e, "code"):
                    raise
                self.refusals += 1
                self.refused_until = t + min(30, 0.5 * 2**self.refusals)
                self.server.event(self.job, "Warning", "FailedCreate", f"Error creating: {e.msg}")
                break
        return None

    def begin(self, index):
        job = self.job
        t = copy.deepcopy(job["spec"]["template"])
        md = t.setdefault("metadata", {})
        md["generateName"] = self.key[3] + ("-" if index is None else f"-{index}-")
        md["ownerReferences"] = [
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "name": self.key[3],
                "uid": job["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
        md["finalizers"] = ["batch.kubernetes.io/job-tracking"]
        if index is not None:
            md.setdefault("annotations", {})[INDEX] = str(index)
            md.setdefault("labels", {})[INDEX] = str(index)
            t["spec"].setdefault("hostname", f"{self.key[3]}-{index}")
            ref = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}
            for c in t["spec"]["containers"] + t["spec"].get("initContainers", []):
                c.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "valueFrom": ref})
        self.server.create("v1", "pods", self.key[2], t)

    def index(self, pod):
        text = (pod["metadata"].get("annotations") or {}).get(INDEX)
        return None if text is None else int(text)

    def policy(self, pod):
        """The action of the first rule of the pod failure policy that matches: Count where none does."""
        for rule in (self.job["spec"].get("podFailurePolicy") or {}).get("rules", []):
            if "onExitCodes" in rule:
                want = rule["onExitCodes"]
                codes = [
                    c["state"]["terminated"]["exitCode"]
                    for c in pod["status"].get("containerStatuses", [])
                    if "terminated" in c.get("state", {}) and want.get("containerName", c["name"]) == c["name"]
                ]
                if any(c != 0 and (c in want["values"]) == (want["operator"] == "In") for c in codes):
                    return rule["action"]
            for want in rule.get("onPodConditions", []):
                for c in pod["status"].get("conditions", []):
                    if c["type"] == want["type"] and c["status"] == want.get("status", "True"):
                        return rule["action"]
        return "Count"

    # --- status and end

    def write(self, pods, condition=None):
        job = self.job
        active = [p for p in pods.values() if not ended(p) and p["metadata"]["uid"] not in self.seen]
        ready = sum(
            any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))
            for p in active
        )
        status = {
            "active": len(active),
            "ready": ready,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "terminating": sum(bool(p["metadata"].get("deletionTimestamp")) for p in pods.values()),
            "uncountedTerminatedPods": {},
        }
        if not job["spec"].get("suspend"):
            status["startTime"] = job["status"].get("startTime", now())
        status = {k: v for k, v in status.items() if v not in (0,) or k in ("ready", "terminating")}
        if self.indexed and self.done:
            status["completedIndexes"] = intervals(self.done)
        if self.indexed and "backoffLimitPerIndex" in job["spec"]:
            status["failedIndexes"] = intervals(self.bad)
        if condition:
            at = {"lastProbeTime": now(), "lastTransitionTime": now(), "status": "True"}
            kind, reason, message = condition
            first = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
            status["conditions"] = [{"type": t, "reason": reason, "message": message, **at} for t in (first, kind)]
            if kind == "Complete":
                status["completionTime"] = now()
        if status != job["status"]:
            job["status"] = status
            self.st.put(self.key, job, "MODIFIED")

    async def finish(self, kind, reason, message):
        for k, p in self.pods().items():
            if not ended(p):
                self.server.delete(k, {})
        self.write({}, (kind, reason, message))
        self.server.event(self.job, "Normal" if kind == "Complete" else "Warning", reason, message)
        ttl = self.job["spec"].get("ttlSecondsAfterFinished")
        if ttl is not None:
            uid = self.job["metadata"]["uid"]
            await asyncio.sleep(ttl)
            if self.job and self.job["metadata"]["uid"] == uid:
                self.server.delete(self.key, {"propagationPolicy": "Background"})
