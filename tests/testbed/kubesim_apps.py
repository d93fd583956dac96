"""Deployments of kubesim's API: as many pods as `replicas` says, made anew when they go.

One controller does what upstream's Deployment and ReplicaSet controllers do together; there are no revisions: a changed
template takes effect for new pods only.
"""

import asyncio
import copy

from kubesim_control import ended


class DeploymentController:
    """The pods of one Deployment."""

    def __init__(self, server, key):
        self.server, self.st, self.key = server, server.st, key

    @property
    def item(self):
        return self.st.objs.get(self.key)

    def pods(self):
        uid = self.item["metadata"]["uid"]
        return {
            k: p
            for k, p in self.st.objs.items()
            if k[1] == "pods" and any(r.get("uid") == uid for r in p["metadata"].get("ownerReferences", []))
        }

    async def run(self):
        wake = self.server.changes(self.key)
        try:
            while self.item and not self.item["metadata"].get("deletionTimestamp"):
                self.step()
                try:
                    await asyncio.wait_for(wake.wait(), 0.5)
                except asyncio.TimeoutError:
                    pass
                wake.clear()
                await asyncio.sleep(0.05)
        finally:
            self.server.no_changes(self.key)

    def step(self):
        live = {k: p for k, p in self.pods().items() if not ended(p) and not p["metadata"].get("deletionTimestamp")}
        wanted = self.item["spec"].get("replicas", 1)
        for k in list(live)[wanted:]:
            self.server.delete(k, {})
        for _ in range(wanted - len(live)):
            try:
                self.begin()
            except Exception as e:
                if not hasattr(e, "code"):
                    raise
                self.server.event(self.item, "Warning", "FailedCreate", f"Error creating: {e.msg}")
                self.write(live, e.msg)
                return
        self.write(live)

    def begin(self):
        item = self.item
        pod = copy.deepcopy(item["spec"]["template"])
        meta = pod.setdefault("metadata", {})
        meta["generateName"] = f"{self.key[3]}-"
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.key[3], "uid": item["metadata"]["uid"]}
        meta["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": True}]
        self.server.create("v1", "pods", self.key[2], pod)

    def write(self, live, refused=None):
        item = self.item
        ready = sum(
            any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))
            for p in live.values()
        )
        wanted = item["spec"].get("replicas", 1)
        status = {
            "observedGeneration": item["metadata"].get("generation", 1),
            "replicas": len(live), "updatedReplicas": len(live), "readyReplicas": ready, "availableReplicas": ready,
            "unavailableReplicas": max(0, wanted - ready),
            "conditions": [
                {"type": "Available", "status": str(ready >= wanted), "reason": "MinimumReplicasAvailable"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            ],
        }  # fmt: skip
        if refused:
            failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refused}
            status["conditions"].append(failure)
        if item.get("status") != status:
            item["status"] = status
            self.st.put(self.key, item, "MODIFIED")
